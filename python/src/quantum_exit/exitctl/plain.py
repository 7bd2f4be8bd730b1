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
    cut = len(text) > limit
    text = " ".join(text[:limit].split())
    shown = "".join(c if c.isprintable() else _BAD for c in text)
    return shown + _MORE if cut else shown


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
    kept: list[str] = []
    left = wide - 1
    for character in text:
        left -= _columns_of(character)
        if left < 0:
            break
        kept.append(character)
    head = "".join(kept)
    return head + _MORE + " " * (wide - 1 - columns(head))


def wrap(text: str, wide: int, most: int) -> list[str]:
    """The text over at most `most` lines of `wide` columns, broken at blanks where there are
    any; what is left over is cut."""
    lines: list[str] = []
    left = text
    while left and len(lines) < most - 1 and columns(left) > wide:
        head = fit(left, wide + 1).rstrip().removesuffix(_MORE)
        at = head.rfind(" ")
        at = at if at > wide // 2 else len(head)
        lines.append(left[:at])
        left = left[at:].lstrip()
    return [*lines, fit(left, wide).rstrip()] if left else lines


def _columns_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
