"""What the exchange says, as immutable values. Prices and amounts are Decimal, times Unix ms."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Credentials:
    """An API key pair. Neither half appears in its repr."""

    api_key: str = field(repr=False)
    api_secret: str = field(repr=False)

    def __post_init__(self) -> None:
        if not self.api_key.isascii() or not self.api_key.isprintable():
            raise ValueError("the API key has characters that no HTTP header can carry")
        if not self.api_key or self.api_key != self.api_key.strip():
            raise ValueError("the API key is empty or has blanks around it")
        if not self.api_secret:
            raise ValueError("the API secret is empty")


@dataclass(frozen=True, slots=True)
class SymbolRules:
    """The order filters of one symbol. Steps and minima are above zero."""

    symbol: str
    status: str
    price_tick: Decimal
    qty_step: Decimal
    min_qty: Decimal
    max_qty: Decimal
    market_step: Decimal
    market_min_qty: Decimal
    market_max_qty: Decimal
    min_notional: Decimal
    price_up: Decimal
    price_down: Decimal
    qty_precision: int = 8

    @property
    def trading(self) -> bool:
        return self.status == "TRADING"


@dataclass(frozen=True, slots=True)
class Position:
    """One position. `amount` is signed: above zero long, below zero short.

    `leverage` is None unless it was asked for (another endpoint tells it).
    `position_side` is BOTH in one-way mode, LONG or SHORT in hedge mode.
    """

    symbol: str
    amount: Decimal
    entry_price: Decimal
    mark_price: Decimal
    unrealized_pnl: Decimal
    leverage: int | None
    liquidation_price: Decimal | None
    update_time_ms: int
    position_side: str = "BOTH"


@dataclass(frozen=True, slots=True)
class PositionRows:
    """All positions of one answer. What `unreadable` names is unknown, and so neither flat nor
    among `positions`."""

    positions: tuple[Position, ...]
    unreadable: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SymbolConfig:
    symbol: str
    leverage: int
    margin_type: str
    max_notional: Decimal


@dataclass(frozen=True, slots=True)
class OrderAck:
    """An order as the exchange has it now.

    `orig_qty` may be smaller than what was sent: the exchange cuts a reduce-only order down
    to the position. `avg_price` is None when nothing is filled or the answer leaves it out.
    """

    symbol: str
    order_id: int
    client_order_id: str
    status: str
    side: str
    type: str
    orig_qty: Decimal
    executed_qty: Decimal
    avg_price: Decimal | None
    reduce_only: bool
    update_time_ms: int

    @property
    def final(self) -> bool:
        """Nothing more can be filled."""
        return self.status in FINAL_STATUSES


FINAL_STATUSES = frozenset({"FILLED", "CANCELED", "REJECTED", "EXPIRED", "EXPIRED_IN_MATCH"})
ORDER_STATUSES = FINAL_STATUSES | {"NEW", "PARTIALLY_FILLED"}


@dataclass(frozen=True, slots=True)
class OrderNotFound:
    """The exchange knows no order of that id: now. It proves nothing before the fence."""

    symbol: str
    client_order_id: str


@dataclass(frozen=True, slots=True)
class AlgoAck:
    """A conditional order. `actual_order_id` is the order it became when it triggered."""

    algo_id: int
    client_algo_id: str
    status: str
    symbol: str
    side: str
    quantity: Decimal
    trigger_price: Decimal
    reduce_only: bool
    actual_order_id: int | None


@dataclass(frozen=True, slots=True)
class AlgoCancelAck:
    algo_id: int
    client_algo_id: str


@dataclass(frozen=True, slots=True)
class AlgoNotFound:
    client_algo_id: str


@dataclass(frozen=True, slots=True)
class Trade:
    """One fill. `commission` is above zero when it was paid."""

    symbol: str
    trade_id: int
    order_id: int
    side: str
    price: Decimal
    qty: Decimal
    quote_qty: Decimal
    commission: Decimal
    commission_asset: str
    realized_pnl: Decimal
    maker: bool
    time_ms: int


@dataclass(frozen=True, slots=True)
class Balance:
    asset: str
    wallet: Decimal
    available: Decimal


@dataclass(frozen=True, slots=True)
class Account:
    can_trade: bool
    multi_assets_margin: bool
    wallet: Decimal
    margin_balance: Decimal
    available: Decimal
    unrealized_pnl: Decimal


@dataclass(frozen=True, slots=True)
class MarkPrice:
    symbol: str
    price: Decimal
    time_ms: int


@dataclass(frozen=True, slots=True)
class Kline:
    open_time_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    close_time_ms: int


@dataclass(frozen=True, slots=True)
class TradingIndicator:
    """One of the exchange's quantitative rules; `scope` is a symbol or ACCOUNT."""

    scope: str
    name: str
    locked: bool
    recover_time_ms: int


@dataclass(frozen=True, slots=True)
class LeverageSetting:
    symbol: str
    leverage: int
    max_notional: Decimal
