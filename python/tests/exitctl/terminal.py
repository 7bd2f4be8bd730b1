"""A terminal of a test's own: a program behind a real pty, and what a person would see."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence

import pyte

KEYS = {"up": "\x1bOA", "down": "\x1bOB", "right": "\x1bOC", "left": "\x1bOD", "q": "q"}
LEAVES_SCREEN = b"\x1b[?1049l"
SHOWS_CURSOR = b"\x1b[?25h"


class _Stream(pyte.Stream):
    """Knows two more codes, which ncurses uses to scroll a part of the screen."""

    csi = {**pyte.Stream.csi, "S": "scroll_up", "T": "scroll_down"}  # noqa: RUF012 - as there
    events = pyte.Stream.events | {"scroll_up", "scroll_down"}


class _Screen(pyte.Screen):
    def scroll_up(self, count: int = 1) -> None:
        self._scroll(count, (self.margins.bottom if self.margins else self.lines - 1), self.index)

    def scroll_down(self, count: int = 1) -> None:
        self._scroll(count, (self.margins.top if self.margins else 0), self.reverse_index)

    def _scroll(self, count: int, edge: int, step: Callable[[], None]) -> None:
        row, self.cursor.y = self.cursor.y, edge
        for _ in range(count):
            step()
        self.cursor.y = row


class Terminal:
    """80x24 unless `resize`d. Use it as a context manager. A `screen`: an xterm would be told
    to repeat characters by a code that the library does not know."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self._screen = _Screen(80, 24)
        self._stream = _Stream(self._screen)
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._near, self._far = pty.openpty()
        self._set_size(80, 24)
        self.settings_before = termios.tcgetattr(self._far)
        self.raw = b""
        self.process = subprocess.Popen(
            command,
            env={"TERM": "screen", "LC_ALL": "C.UTF-8", **environ},
            stdin=self._far,
            stdout=self._far,
            stderr=self._far,
            start_new_session=True,
        )

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._near)
        os.close(self._far)

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def settings(self) -> object:
        """Of the terminal, as the next program would find them."""
        return termios.tcgetattr(self._far)

    def cells(self) -> list[list[tuple[str, str, bool, bool]]]:
        """Each row of characters, with colour, and whether it is bold and reversed."""
        rows = (self._screen.buffer[y] for y in range(self._screen.lines))
        columns = range(self._screen.columns)
        return [[(r[x].data, r[x].fg, r[x].bold, r[x].reverse) for x in columns] for r in rows]

    def colours(self) -> set[str]:
        cells = (cell for row in self._screen.buffer.values() for cell in row.values())
        return {colour for cell in cells for colour in (cell.fg, cell.bg)}

    def press(self, *names: str) -> None:
        for name in names:
            os.write(self._near, KEYS[name].encode())

    def resize(self, wide: int, high: int) -> None:
        self._screen.resize(high, wide)
        self._set_size(wide, high)
        # the test's session is not the terminal's, so nobody else tells the program
        self.process.send_signal(signal.SIGWINCH)

    def wait_for(self, seen: Callable[[str], bool], what: str, timeout_s: float = 15) -> None:
        deadline = time.monotonic() + timeout_s
        while not seen(self.text):
            assert time.monotonic() < deadline, f"not seen: {what}\n{self.text}"
            self._read(0.1)

    def wait_text(self, text: str, timeout_s: float = 15) -> None:
        self.wait_for(lambda shown: text in shown, repr(text), timeout_s)

    def wait_end(self, timeout_s: float = 15) -> int:
        deadline = time.monotonic() + timeout_s
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it goes on\n{self.text}"
            self._read(0.1)
        while self._read(0):
            pass
        return self.process.returncode

    def _read(self, wait_s: float) -> bool:
        if not select.select([self._near], [], [], wait_s)[0]:
            return False
        data = os.read(self._near, 65_536)
        self.raw += data
        self._stream.feed(self._decode(data))
        return True

    def _set_size(self, wide: int, high: int) -> None:
        fcntl.ioctl(self._near, termios.TIOCSWINSZ, struct.pack("HHHH", high, wide, 0, 0))
