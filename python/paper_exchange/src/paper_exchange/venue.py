"""One running exchange with everything around it: what the endpoints are handed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .clock import Clock
from .exchange import Exchange
from .faults import FaultBoard
from .journal import Journal
from .rest.auth import Keyring
from .rest.limits import Limiter
from .rest.shapes import SymbolFormat


@dataclass(slots=True)
class Venue:
    """`latency_ms` passes between the door and the engine, for every request."""

    exchange: Exchange
    clock: Clock
    keyring: Keyring
    limiter: Limiter
    latency_ms: int = 0
    post_averages: bool = True
    faults: FaultBoard = field(default_factory=FaultBoard)
    journal: Journal = field(default_factory=Journal)
    listen_keys: dict[str, int] = field(default_factory=dict)
    save: Callable[[], None] = lambda: None
    """Puts the state on disk, where one was asked for; called before every answer to a change."""

    def form(self, symbol: str) -> SymbolFormat:
        return SymbolFormat(self.exchange.books.rules_of(symbol))
