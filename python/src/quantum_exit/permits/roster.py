"""Which symbols have a snapshot of their own: those with a position, and for an hour those that
had one or that somebody asked about. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

IDLE_AFTER_S: Final = 3600.0
MAX_SYMBOLS: Final = 2000
"""The exchange lists several hundred; a flood of made-up names must not fill the memory."""


class Roster:
    def __init__(self) -> None:
        self._seen_mono: dict[str, float] = {}

    @property
    def symbols(self) -> set[str]:
        return set(self._seen_mono)

    def track(self, symbols: Iterable[str], now_mono: float) -> None:
        """They matter now."""
        self._seen_mono.update(dict.fromkeys(symbols, now_mono))

    def drop_idle(self, now_mono: float) -> set[str]:
        """Takes out and returns those that have not mattered for long, or are too many."""
        newest_first = sorted(self._seen_mono, key=self._seen_mono.__getitem__, reverse=True)
        idle = {s for s in newest_first if now_mono - self._seen_mono[s] > IDLE_AFTER_S}
        dropped = idle | set(newest_first[MAX_SYMBOLS:])
        for symbol in dropped:
            del self._seen_mono[symbol]
        return dropped
