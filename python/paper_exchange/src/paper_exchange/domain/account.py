"""Wallets, positions and settings of the one account, and its margin arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from .brackets import Bracket, maintenance_margin
from .positions import Position
from .values import ZERO

DEFAULT_LEVERAGE = 20


@dataclass(slots=True)
class Account:
    """Amounts of `wallets` by asset; realized profit and fees are already in them."""

    wallets: dict[str, Decimal]
    positions: dict[str, Position] = field(default_factory=dict)
    leverages: dict[str, int] = field(default_factory=dict)
    isolated: set[str] = field(default_factory=set)
    hedge_mode: bool = False
    updated_ms: int = 0

    def position(self, symbol: str) -> Position:
        return self.positions.get(symbol) or Position(symbol)

    def leverage(self, symbol: str) -> int:
        return self.leverages.get(symbol, DEFAULT_LEVERAGE)

    def keep(self, position: Position) -> None:
        """A flat position is forgotten: v3 answers do not list it."""
        if position.is_flat:
            self.positions.pop(position.symbol, None)
        else:
            self.positions[position.symbol] = position
        self.updated_ms = position.updated_ms


@dataclass(frozen=True, slots=True)
class PositionMargin:
    notional: Decimal
    unrealized: Decimal
    initial: Decimal
    maintenance: Decimal
    open_orders: Decimal


@dataclass(frozen=True, slots=True)
class AssetMargin:
    """Totals of one margin asset."""

    wallet: Decimal
    unrealized: Decimal
    position_initial: Decimal
    order_initial: Decimal
    maintenance: Decimal

    @property
    def margin_balance(self) -> Decimal:
        return self.wallet + self.unrealized

    @property
    def available(self) -> Decimal:
        return max(self.margin_balance - self.position_initial - self.order_initial, ZERO)


def position_margin(
    position: Position, mark: Decimal, leverage: int, brackets: tuple[Bracket, ...], orders: Decimal
) -> PositionMargin:
    """`orders`: the notional of open orders that would enlarge the position."""
    notional = position.amount * mark
    return PositionMargin(
        notional=notional,
        unrealized=position.unrealized(mark),
        initial=abs(notional) / leverage,
        maintenance=maintenance_margin(brackets, abs(notional)),
        open_orders=orders / leverage,
    )


def asset_margin(wallet: Decimal, margins: Iterable[PositionMargin]) -> AssetMargin:
    unrealized = initial = orders = maintenance = ZERO
    for margin in margins:
        unrealized += margin.unrealized
        initial += margin.initial
        orders += margin.open_orders
        maintenance += margin.maintenance
    return AssetMargin(wallet, unrealized, initial, orders, maintenance)


def liquidation_price(
    position: Position,
    totals: AssetMargin,
    own: PositionMargin,
    bracket_of: Callable[[Decimal], Bracket],
) -> Decimal:
    """Cross margin, all other marks standing still; 0 where no price could liquidate."""
    if position.is_flat:
        return ZERO
    direction = 1 if position.amount > 0 else -1
    size = abs(position.amount)
    bracket = bracket_of(abs(own.notional))
    cushion = (totals.wallet + totals.unrealized - own.unrealized) - (
        totals.maintenance - own.maintenance
    )
    numerator = cushion + bracket.cum - direction * size * position.entry_price
    denominator = size * (bracket.maint_ratio - direction)
    return max(numerator / denominator, ZERO)
