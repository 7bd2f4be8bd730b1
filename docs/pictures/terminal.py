"""`exitctl top` on the sandbox host, as an SVG: what a real terminal of 80x24 shows.

python docs/pictures/terminal.py ssh -tt ... exitctl top >docs/pictures/top.svg
"""

import itertools
import os
import sys
from html import escape
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "python"))

from tests.exitctl.terminal import Terminal

CELL_WIDE, CELL_HIGH, EDGE = 8.4, 18, 14
COLOURS = {"green": "#7ee2a8", "red": "#ff9a8f"}
HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.0f} {high:.0f}" role="img"
  aria-label="exitctl top in a terminal of 80 by 24">
<style>text {{ font: 14px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  fill: #dfe3e8; white-space: pre }} .b {{ font-weight: 700 }}</style>
<rect width="100%" height="100%" rx="8" fill="#15191e"/>"""


def draw(terminal: Terminal) -> str:
    wide, high = 80 * CELL_WIDE + 2 * EDGE, 24 * CELL_HIGH + 2 * EDGE
    parts = [HEAD.format(wide=wide, high=high)]
    for row, cells in enumerate(terminal.cells()):
        column = 0
        for (colour, bold, reverse), group in itertools.groupby(cells, key=lambda cell: cell[1:]):
            text = "".join(cell[0] for cell in group)
            x, y = EDGE + column * CELL_WIDE, EDGE + row * CELL_HIGH
            column += len(text)
            length = len(text) * CELL_WIDE
            fill = COLOURS.get(colour, "")
            if reverse:
                box = f'x="{x:.1f}" y="{y}" width="{length:.1f}" height="{CELL_HIGH}"'
                parts.append(f'<rect {box} fill="#dfe3e8"/>')
                fill = "#15191e"
            if text.strip():
                look = (' class="b"' if bold else "") + (f' style="fill:{fill}"' if fill else "")
                where = f'x="{x:.1f}" y="{y + 13}" textLength="{length:.1f}"'
                parts.append(f"<text {where}{look}>{escape(text)}</text>")
    return "\n".join([*parts, "</svg>"])


def main() -> None:
    with Terminal(sys.argv[1:], dict(os.environ)) as terminal:
        terminal.wait_text("[POSITIONS]", timeout_s=30)
        terminal.wait_text("DENIALS")
        terminal.press("right", "right")
        terminal.wait_text("[DENIALS]")
        terminal.wait_text("Plan ")
        print(draw(terminal))
        terminal.press("q")
        terminal.wait_end()


if __name__ == "__main__":
    main()
