"""One position and what a fill does to it. Pure: property tests live on this."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from .values import ZERO


@dataclass(frozen=True, slots=True)
class Position:
    """One-way mode: `amount` is signed, positive for a long, in the base asset."""

    symbol: str
    amount: Decimal = ZERO
    entry_price: Decimal = ZERO
    updated_ms: int = 0

    @property
    def is_flat(self) -> bool:
        return self.amount == 0

    def unrealized(self, mark: Decimal) -> Decimal:
        return self.amount * (mark - self.entry_price)


def after_fill(
    position: Position, delta: Decimal, price: Decimal, now_ms: int
) -> tuple[Position, Decimal]:
    """The position after `delta` (signed) traded at `price`, and the profit that it realized.

    Adding moves the average entry price, reducing leaves it, flipping starts anew at `price`.
    """
    amount = position.amount + delta
    if position.amount * delta >= 0:
        cost = position.amount * position.entry_price + delta * price
        entry = cost / amount if amount else ZERO
        return Position(position.symbol, amount, entry, now_ms), ZERO
    closed = min(abs(position.amount), abs(delta))
    direction = 1 if position.amount > 0 else -1
    realized = closed * (price - position.entry_price) * direction
    if amount == 0:
        entry = ZERO
    elif amount * position.amount > 0:
        entry = position.entry_price
    else:
        entry = price
    return Position(position.symbol, amount, entry, now_ms), realized


def break_even(position: Position, fee: Decimal) -> Decimal:
    """The price at which closing would pay the opening's fee; 0 when flat."""
    direction = 1 if position.amount > 0 else -1
    return position.entry_price * (1 + direction * fee)
