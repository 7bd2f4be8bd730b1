"""A real browser without a window, to look at pages with."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

_FRAME = '<pre id="measured"></pre><iframe srcdoc="{}" style="width:{}px;height:900px;border:0">'
_MEASURE = """<script>
addEventListener('load', () => {
  const wide = document.documentElement.clientWidth;
  const over = [...document.querySelectorAll('body *')]
    .filter(e => e.getBoundingClientRect().right > wide + 1 && !e.closest('thead'))
    .map(e => e.tagName + ': ' + e.textContent.slice(0, 80));
  const style = getComputedStyle(document.body);
  parent.document.getElementById('measured').textContent = JSON.stringify({
    wide, over, scrolls: document.documentElement.scrollWidth,
    ink: style.color, paper: style.backgroundColor,
    charts: [...document.querySelectorAll('figure svg')].map(e => e.getBoundingClientRect().height),
    acted: typeof acted,
  });
});
</script>"""


class Browser:
    """`skip`s the test where there is none."""

    def __init__(self, directory: Path) -> None:
        found = shutil.which("chromium")
        if found is None:
            pytest.skip("no chromium: ./quantum test installs it where Debian has it")
        self._binary = found
        self._directory = directory

    def measure(self, page: str, wide: int, *, dark: bool = False) -> dict[str, Any]:
        """The page as laid out. Its policy, which forbids scripts, is taken off first: what
        measures is a script, and what others wrote must not act without the policy either."""
        body = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
        assert body != page
        file = self._directory / "page.html"
        body = body.replace("</body>", f"{_MEASURE}</body>")
        # In a frame, because no window of a browser becomes as narrow as a phone.
        file.write_text(_FRAME.format(html.escape(body, quote=True), wide), encoding="utf-8")
        arguments = ["--force-dark-mode", "--enable-features=WebContentsForceDark"] if dark else []
        done = subprocess.run(
            [
                *(self._binary, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                *(f"--user-data-dir={self._directory}/profile", "--window-size=1400,1000"),
                *("--disable-background-networking", "--no-first-run", *arguments),
                *("--virtual-time-budget=2000", "--dump-dom", file.as_uri()),
            ],
            capture_output=True,
            text=True,
            timeout=60,
        )
        measured = re.search(r'<pre id="measured">(\{.*?\})</pre>', done.stdout)
        assert measured, done.stderr[-2000:]
        document: dict[str, Any] = json.loads(html.unescape(measured[1]))
        return document
