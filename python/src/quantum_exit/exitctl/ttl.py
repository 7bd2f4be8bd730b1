"""Durations as people type them: `90s`, `15m`, `1h`."""

from __future__ import annotations

import re
from typing import Final

MAX_TTL_S: Final = 24 * 3600
_UNITS: Final = {"s": 1, "m": 60, "h": 3600}
_FORM = re.compile(r"(\d{1,6})([smh])", re.ASCII)


def parse_ttl(text: str) -> int:
    """Seconds, from 1 to a day. Raises ValueError saying what would be right."""
    match = _FORM.fullmatch(text.strip().lower())
    if not match:
        raise ValueError(f"{text!r} is not a duration: write it as 90s, 15m or 1h")
    seconds = int(match[1]) * _UNITS[match[2]]
    if not 1 <= seconds <= MAX_TTL_S:
        raise ValueError(f"{text!r} is out of range: from 1s to 24h")
    return seconds


def format_age(seconds: float) -> str:
    """An age for people: `0.4 s`, `12 s`, `3 min`, `2.5 h`, `4 d`."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.0f} d"
