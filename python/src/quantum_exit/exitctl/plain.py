"""Text of others made fit for a screen: no control codes, and as wide as it looks.

Reasons, sources and symbols come from producers nobody vouches for. An escape sequence or a
mark that turns the direction of writing would let one rewrite what the operator sees.
"""

from __future__ import annotations

import unicodedata
from typing import Final

MAX_TEXT: Final = 500
_BAD: Final = "�"
_MORE: Final = "~"
"""Where text was cut; plain ASCII, so it is one column in every terminal."""


def plain(value: object, limit: int = MAX_TEXT) -> str:
    """Printable and bounded. A line break becomes a blank, what else cannot be printed `�`."""
    text = str(value)
    shown = "".join(_shown(character) for character in text[:limit])
    return shown + _MORE if len(text) > limit else shown


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else _BAD


def columns(text: str) -> int:
    """Columns of a terminal that the text takes."""
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def fit(text: str, wide: int) -> str:
    """The text in exactly `wide` columns: cut, or filled with blanks."""
    if wide <= 0:
        return ""
    taken = columns(text)
    if taken <= wide:
        return text + " " * (wide - taken)
    head = _head(text, wide - 1)
    return head + _MORE + " " * (wide - 1 - columns(head))


def _head(text: str, wide: int) -> str:
    """As much of its beginning as `wide` columns hold."""
    left = wide
    for at, character in enumerate(text):
        left -= _columns_of(character)
        if left < 0:
            return text[:at]
    return text


def wrap(text: str, wide: int, most: int) -> list[str]:
    """The text over at most `most` lines of `wide` columns, broken at blanks where there are
    any; what is left over is cut."""
    lines: list[str] = []
    left = text
    while left and len(lines) < most - 1 and columns(left) > wide:
        head = _head(left, wide)
        at = len(head) if left[len(head)] == " " else head.rfind(" ")
        at = at if at > wide // 2 else len(head)
        lines.append(left[:at])
        left = left[at:].lstrip()
    return [*lines, fit(left, wide).rstrip()] if left else lines


def _columns_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
