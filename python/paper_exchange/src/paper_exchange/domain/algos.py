"""Conditional orders: they rest unseen by the order book until the mark price triggers them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice

from . import refusals
from .engine import Engine
from .orders import OrderRequest
from .positions import Position
from .refusals import Refused
from .symbols import check_price, check_quantity
from .values import ZERO, Actor, AlgoStatus, OrderType, Side, TimeInForce

MAX_OPEN = 200
_KEPT_ENDED = 10_000
_STOPS = (OrderType.STOP, OrderType.STOP_MARKET)
SUPPORTED = (*_STOPS, OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_MARKET)


@dataclass(slots=True)
class Algo:
    """`quantity` is 0 with `close_position`; `price` is 0 for the market types."""

    algo_id: int
    client_algo_id: str
    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    trigger_price: Decimal
    price: Decimal
    time_in_force: TimeInForce
    reduce_only: bool
    close_position: bool
    working_type: str
    price_protect: bool
    created_ms: int
    updated_ms: int
    status: AlgoStatus = AlgoStatus.NEW
    trigger_ms: int = 0
    actual_order_id: int | None = None
    actual_price: Decimal = ZERO
    reject_reason: str = ""

    @property
    def is_market(self) -> bool:
        return self.type in (OrderType.STOP_MARKET, OrderType.TAKE_PROFIT_MARKET)

    @property
    def is_stop(self) -> bool:
        return self.type in _STOPS

    @property
    def ends_with_position(self) -> bool:
        return self.time_in_force is TimeInForce.GTE_GTC

    def can_reduce(self, position: Position) -> bool:
        return position.amount * self.side.sign < 0

    def is_triggered_by(self, mark: Decimal) -> bool:
        """A stop waits for the price to move against the position, a take-profit for it."""
        waits_for_rise = self.is_stop == (self.side is Side.BUY)
        return mark >= self.trigger_price if waits_for_rise else mark <= self.trigger_price


class AlgoDesk:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        engine.on_position = self._drop_orphans
        self._open: dict[int, Algo] = {}
        self._ended: deque[Algo] = deque(maxlen=_KEPT_ENDED)
        self.last_algo_id = 3_000_000_000
        self.endings = 0

    def place(self, algo: Algo) -> Algo:
        """`algo_id` 0 and an empty client id are given here. Raises Refused."""
        self._check(algo)
        self.last_algo_id += 1
        algo.algo_id = self.last_algo_id
        algo.client_algo_id = algo.client_algo_id or self._engine.new_client_id()
        self._open[algo.algo_id] = algo
        return algo

    def _check(self, algo: Algo) -> None:
        """No margin and no position check: those come when it triggers."""
        rules = self._engine.books.rules_of(algo.symbol)
        if algo.close_position:
            if algo.quantity:
                raise Refused(-4137, "Quantity must be zero with closePosition equals true")
            if not algo.is_market:
                raise refusals.invalid_type()
        else:
            check_quantity(rules, algo.quantity, market=algo.is_market)
        check_price(rules, algo.trigger_price)
        if not algo.is_market:
            check_price(rules, algo.price)
        mark = self._engine.books.marks[algo.symbol]
        price = mark if algo.is_market else algo.price
        reduces = algo.reduce_only or algo.close_position
        if not reduces and algo.quantity * price < rules.min_notional:
            raise refusals.min_notional(rules.min_notional)
        self._check_position(algo)
        if any(a.client_algo_id == algo.client_algo_id for a in self._open.values()):
            raise refusals.duplicate_id()
        if len(self._open) >= MAX_OPEN:
            raise Refused(-4045, "Reach max stop order limit.")
        if algo.is_triggered_by(mark):
            raise refusals.would_trigger()

    def _check_position(self, algo: Algo) -> None:
        """What ends with the position needs one; of a kind only one may close all of it."""
        position = self._engine.books.account.position(algo.symbol)
        if algo.ends_with_position and not algo.can_reduce(position):
            raise Refused(
                -4509,
                "Time in Force (TIF) GTE can only be used with open positions. "
                "Please ensure that positions are available.",
            )
        if algo.close_position and any(
            other.close_position and other.side is algo.side and other.is_stop == algo.is_stop
            for other in self.open_algos(algo.symbol)
        ):
            raise Refused(
                -4130,
                "An open stop or take profit order with GTE and closePosition "
                "in the direction is existing.",
            )

    def _drop_orphans(self, position: Position, now_ms: int) -> None:
        for algo in self.open_algos(position.symbol):
            waits = algo.status is AlgoStatus.NEW
            if waits and algo.ends_with_position and not algo.can_reduce(position):
                self._end(algo, AlgoStatus.EXPIRED, now_ms)

    def find(self, algo_id: int | None, client_algo_id: str) -> Algo | None:
        """By id, or by client id: the open one with it, else the newest."""
        for algo in (*self._open.values(), *reversed(self._ended)):
            if algo_id == algo.algo_id if algo_id else client_algo_id == algo.client_algo_id:
                return algo
        return None

    def open_algos(self, symbol: str | None = None) -> list[Algo]:
        return [a for a in self._open.values() if symbol is None or a.symbol == symbol]

    def all_algos(self, symbol: str) -> list[Algo]:
        """Oldest first."""
        both = (a for a in (*self._ended, *self._open.values()) if a.symbol == symbol)
        return sorted(both, key=lambda a: a.algo_id)

    def newest_ended(self, count: int) -> list[Algo]:
        """The last `count` that ended, in the order of their ending."""
        return list(islice(reversed(self._ended), count))[::-1]

    def restore(self, algos: list[Algo]) -> None:
        for algo in algos:
            if algo.status is AlgoStatus.NEW:
                self._open[algo.algo_id] = algo
            else:
                self._ended.append(algo)

    def cancel(self, algo_id: int | None, client_algo_id: str, now_ms: int) -> Algo:
        algo = self.find(algo_id, client_algo_id)
        if algo is None or algo.status is not AlgoStatus.NEW:
            raise refusals.unknown_order()
        self._end(algo, AlgoStatus.CANCELED, now_ms)
        return algo

    def cancel_all(self, symbol: str, now_ms: int) -> int:
        self._engine.books.rules_of(symbol)
        resting = self.open_algos(symbol)
        for algo in resting:
            self._end(algo, AlgoStatus.CANCELED, now_ms)
        return len(resting)

    def trigger_due(self, symbol: str, now_ms: int) -> None:
        """To be called after every move of the mark price."""
        for algo in self.open_algos(symbol):
            waits = algo.status is AlgoStatus.NEW
            if waits and algo.is_triggered_by(self._engine.books.marks[symbol]):
                self._trigger(algo, now_ms)

    def _trigger(self, algo: Algo, now_ms: int) -> None:
        algo.status = AlgoStatus.TRIGGERED
        algo.trigger_ms = now_ms
        position = self._engine.books.account.position(algo.symbol)
        quantity = abs(position.amount) if algo.close_position else algo.quantity
        request = OrderRequest(
            symbol=algo.symbol,
            side=algo.side,
            type=OrderType.MARKET if algo.is_market else OrderType.LIMIT,
            quantity=quantity,
            price=algo.price,
            time_in_force=TimeInForce.GTC if algo.ends_with_position else algo.time_in_force,
            reduce_only=algo.reduce_only,
            close_position=algo.close_position,
            client_order_id=self._engine.new_client_id(),
            actor=Actor.ALGO,
        )
        try:
            order = self._engine.place(request, now_ms)
        except Refused as refusal:
            algo.reject_reason = refusal.msg
            self._end(algo, AlgoStatus.REJECTED, now_ms)
            return
        algo.actual_order_id = order.order_id
        algo.actual_price = order.average_price
        self._end(algo, AlgoStatus.FINISHED, now_ms)

    def _end(self, algo: Algo, status: AlgoStatus, now_ms: int) -> None:
        algo.status = status
        algo.updated_ms = now_ms
        self.endings += 1
        del self._open[algo.algo_id]
        self._ended.append(algo)
