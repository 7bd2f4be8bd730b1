"""Orders, trades and the book that keeps them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice

from . import refusals
from .values import ZERO, Actor, OrderStatus, OrderType, Side, TimeInForce


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """What somebody asks for. `quantity` is None only for a close of the whole position."""

    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    price: Decimal = ZERO
    time_in_force: TimeInForce = TimeInForce.GTC
    reduce_only: bool = False
    close_position: bool = False
    client_order_id: str = ""
    good_till_ms: int = 0
    self_trade_prevention: str = "EXPIRE_MAKER"
    actor: Actor = Actor.API


@dataclass(slots=True)
class Order:
    order_id: int
    client_order_id: str
    symbol: str
    side: Side
    type: OrderType
    orig_qty: Decimal
    price: Decimal
    time_in_force: TimeInForce
    reduce_only: bool
    close_position: bool
    good_till_ms: int
    self_trade_prevention: str
    actor: Actor
    created_ms: int
    updated_ms: int
    status: OrderStatus = OrderStatus.NEW
    executed_qty: Decimal = ZERO
    cum_quote: Decimal = ZERO

    @property
    def remaining(self) -> Decimal:
        return self.orig_qty - self.executed_qty

    @property
    def average_price(self) -> Decimal:
        return self.cum_quote / self.executed_qty if self.executed_qty else ZERO


@dataclass(frozen=True, slots=True)
class Trade:
    """One fill. `commission` is positive when paid, in `commission_asset`."""

    trade_id: int
    order_id: int
    client_order_id: str
    symbol: str
    side: Side
    price: Decimal
    qty: Decimal
    quote_qty: Decimal
    commission: Decimal
    commission_asset: str
    realized_pnl: Decimal
    maker: bool
    actor: Actor
    time_ms: int


class OrderBook:
    """All orders by id, the open ones by client id, the newest per client id.

    A client order id is taken only while an order with it is open; afterwards it may be used
    again. Closed orders beyond `keep` are forgotten, oldest first.
    """

    def __init__(self, keep: int = 50_000) -> None:
        self._by_id: dict[int, Order] = {}
        self._open: dict[int, Order] = {}
        self._open_by_client_id: dict[str, Order] = {}
        self._latest_by_client_id: dict[str, Order] = {}
        self._closed: deque[int] = deque()
        self._keep = keep
        self.endings = 0

    def add(self, order: Order) -> None:
        self._by_id[order.order_id] = order
        self._latest_by_client_id[order.client_order_id] = order
        if order.status.is_open:
            self._open[order.order_id] = order
            self._open_by_client_id[order.client_order_id] = order
        else:
            self._close(order)

    def settle(self, order: Order) -> None:
        """To be called after a status change: drops the order from the open ones if it ended."""
        if not order.status.is_open and order.order_id in self._open:
            del self._open[order.order_id]
            del self._open_by_client_id[order.client_order_id]
            self._close(order)

    def _close(self, order: Order) -> None:
        self.endings += 1
        self._closed.append(order.order_id)
        while len(self._closed) > self._keep:
            old = self._by_id.pop(self._closed.popleft())
            if self._latest_by_client_id.get(old.client_order_id) is old:
                del self._latest_by_client_id[old.client_order_id]

    def refuse_duplicate(self, client_order_id: str) -> None:
        if client_order_id in self._open_by_client_id:
            raise refusals.duplicate_id()

    def find(self, symbol: str, order_id: int | None, client_order_id: str) -> Order | None:
        """By id, or by client id: the open order with it, else the newest."""
        if order_id is not None:
            order = self._by_id.get(order_id)
        else:
            order = self._open_by_client_id.get(client_order_id) or self._latest_by_client_id.get(
                client_order_id
            )
        return order if order is not None and order.symbol == symbol else None

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        return [o for o in self._open.values() if symbol is None or o.symbol == symbol]

    def newest_closed(self, count: int) -> list[Order]:
        """The last `count` that ended, in the order of their ending."""
        ids = list(islice(reversed(self._closed), count))
        return [self._by_id[order_id] for order_id in reversed(ids)]

    def all_orders(self, symbol: str | None = None) -> list[Order]:
        """Oldest first."""
        orders = (o for o in self._by_id.values() if symbol is None or o.symbol == symbol)
        return sorted(orders, key=lambda order: order.order_id)
