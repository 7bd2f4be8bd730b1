"""The steps of one exit, in their order, with the times between them. Pure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened. `at_ms`: Unix milliseconds, None when nobody saw the time."""

    what: str
    at_ms: float | None
    detail: str = ""


def render(moments: Sequence[Moment]) -> str:
    """One line a moment: the time, the time since the one before, what, and with what."""
    lines: list[str] = []
    before_ms: float | None = None
    for moment in moments:
        clock, since = " " * 12, ""
        if moment.at_ms is not None:
            clock = _clock(moment.at_ms)
            if before_ms is not None:
                since = f"+{moment.at_ms - before_ms:.0f} ms"
            before_ms = moment.at_ms
        lines.append(f"  {clock} {since:>10}  {moment.what:22} {moment.detail}".rstrip())
    return "\n".join(lines)


def total_ms(moments: Sequence[Moment], first: str, last: str) -> float | None:
    """From one moment to another; None when a time is missing."""
    times = {moment.what: moment.at_ms for moment in moments}
    began, ended = times.get(first), times.get(last)
    return None if began is None or ended is None else ended - began


def _clock(at_ms: float) -> str:
    seconds, millis = divmod(int(at_ms), 1000)
    return f"{time.strftime('%H:%M:%S', time.gmtime(seconds))}.{millis:03d}"
