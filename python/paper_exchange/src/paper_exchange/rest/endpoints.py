"""What an endpoint is; the tables of all of them are in the `*_routes` modules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..venue import Venue
from .auth import Right
from .params import Params


@dataclass(frozen=True, slots=True)
class Call:
    """One request that was let in. `now_ms`: the engine's time."""

    venue: Venue
    params: Params
    now_ms: int

    @property
    def symbol(self) -> str:
        """The mandatory symbol. Raises Refused when missing or not listed."""
        return self.venue.exchange.books.rules_of(self.params.text("symbol")).symbol

    @property
    def optional_symbol(self) -> str | None:
        return self.symbol if self.params.get("symbol") else None


Weight = int | Callable[[Params], int]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`is_order`: in the journal, in the order counts, and checked again at the engine."""

    method: str
    path: str
    right: Right
    weight: Weight
    handler: Callable[[Call], object]
    is_order: bool = False
    changes: bool = False

    def weight_of(self, params: Params) -> int:
        return self.weight if isinstance(self.weight, int) else self.weight(params)


def with_and_without_symbol(one: int, every: int) -> Callable[[Params], int]:
    return lambda params: one if params.get("symbol") else every
