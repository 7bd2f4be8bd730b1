"""A person's time-limited leave for a source to exit, beside the owner.

A rigid owner gets switched off in an emergency; this is the lawful way round. It is written
by `exitctl delegate`, alerted, audited, and ends by itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

_EVERY_SYMBOL: Final = frozenset({"", "*", "all"})


@dataclass(frozen=True, slots=True)
class Delegation:
    """`symbol` None: in all symbols."""

    symbol: str | None

    def covers(self, symbol: str) -> bool:
        return self.symbol is None or self.symbol == symbol


def parse_delegation(value: bytes | None, ttl_ms: int) -> Delegation | None:
    """The value of `quantum:delegation:<source>` with its time to live.

    A JSON object that will end by itself; `symbol` absent, null, empty, `*` or `all` means
    every symbol. Permission is positive: malformed, or without a TTL, there is none.
    """
    if value is None or ttl_ms <= 0:
        return None
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    symbol = document.get("symbol")
    if symbol is None:
        return Delegation(None)
    if not isinstance(symbol, str):
        return None
    return Delegation(None if symbol.strip().lower() in _EVERY_SYMBOL else symbol)
