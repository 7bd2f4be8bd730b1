"""The terminal of `top`: curses, left as it was found however the command ends."""

from __future__ import annotations

import contextlib
import curses
import locale
import signal
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Final, NoReturn

from quantum_exit.exitctl.top.frame import Choice, Line, Style, frame, lengths
from quantum_exit.exitctl.top.reading import Seen, Watcher
from quantum_exit.exitctl.top.rows import LISTS

if TYPE_CHECKING:
    from _curses import window as Window

_KEY_WAIT_MS: Final = 200
_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)
_MOVES: Final = {
    curses.KEY_UP: -1,
    curses.KEY_DOWN: 1,
    curses.KEY_PPAGE: -5,
    curses.KEY_NPAGE: 5,
}
_COLOURS: Final = {Style.GOOD: curses.COLOR_GREEN, Style.BAD: curses.COLOR_RED}


class Ended(Exception):
    """A signal asked for the end. `number`: which."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def show(watcher: Watcher, environ: Mapping[str, str]) -> None:
    """Until `q`. Raises curses.error where the terminal can do nothing, Ended on a signal."""
    locale.setlocale(locale.LC_ALL, "")
    before = {number: signal.signal(number, _end) for number in _ENDING}
    try:
        window = curses.initscr()
        try:
            curses.noecho()
            curses.cbreak()
            window.keypad(True)
            _Screen(window, environ).run(watcher.latest)
        finally:
            window.keypad(False)
            curses.nocbreak()
            curses.echo()
            curses.endwin()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, _: FrameType | None) -> NoReturn:
    raise Ended(number)


class _Screen:
    def __init__(self, window: Window, environ: Mapping[str, str]) -> None:
        self._window = window
        self._attributes = _attributes(coloured=not environ.get("NO_COLOR"))
        self._ascii = "utf" not in locale.nl_langinfo(locale.CODESET).lower()
        self._choice = Choice()
        window.timeout(_KEY_WAIT_MS)
        with contextlib.suppress(curses.error):  # a terminal that cannot hide its cursor
            curses.curs_set(0)

    def run(self, latest: Callable[[], tuple[int, Seen]]) -> None:
        drawn: tuple[int, int] | None = None
        while True:
            count, seen = latest()
            now_epoch = time.time()
            if drawn != (count, int(now_epoch)):
                self._draw(frame(seen, self._choice, *self._size(), now_epoch))
                drawn = (count, int(now_epoch))
            key = self._window.getch()
            if key in (ord("q"), ord("Q")):
                return
            if key != -1:
                self._press(key, seen)
                drawn = None

    def _size(self) -> tuple[int, int]:
        high, wide = self._window.getmaxyx()
        return wide, high

    def _press(self, key: int, seen: Seen) -> None:
        choice = self._choice
        if key in (curses.KEY_LEFT, curses.KEY_RIGHT):
            choice.turn(-1 if key == curses.KEY_LEFT else 1)
        elif key in _MOVES:
            choice.move(_MOVES[key], lengths(seen).get(LISTS[choice.focus], 0))
        elif key == curses.KEY_RESIZE:
            self._window.clear()

    def _draw(self, lines: list[Line]) -> None:
        self._window.erase()
        for at, line in enumerate(lines):
            text = line.text.encode("ascii", "replace").decode() if self._ascii else line.text
            try:
                self._window.addstr(at, 0, text, self._attributes[line.style])
            except curses.error:
                # Writing the last cell moves the cursor off the screen; a window may also
                # have become smaller since its size was asked for.
                continue
        self._window.refresh()


def _attributes(*, coloured: bool) -> dict[Style, int]:
    found = {
        Style.PLAIN: curses.A_NORMAL,
        Style.HEAD: curses.A_BOLD,
        Style.GOOD: curses.A_NORMAL,
        Style.BAD: curses.A_BOLD,
        Style.CHOSEN: curses.A_REVERSE,
    }
    if coloured and curses.has_colors():
        # Not before it is known that colours are wanted: this alone sets some.
        curses.start_color()
        curses.use_default_colors()
        for number, (style, colour) in enumerate(_COLOURS.items(), start=1):
            curses.init_pair(number, colour, -1)
            found[style] |= curses.color_pair(number)
    return found
