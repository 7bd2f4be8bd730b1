"""The matching engine: accepts or refuses orders and fills them at the mark price."""

from __future__ import annotations

import random
import string
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal

from . import checks, refusals
from .books import Books
from .margins import totals
from .orders import Order, OrderRequest, Trade
from .positions import Position, after_fill
from .values import (
    ZERO,
    Actor,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
    to_eight,
    to_step,
)

_KEPT_TRADES = 50_000
_ID_LETTERS = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Terms:
    """Fees and slippage as fractions: 0.0004 is four hundredths of a percent."""

    taker_fee: Decimal = Decimal("0.0004")
    maker_fee: Decimal = Decimal("0.0002")
    slippage: Decimal = ZERO


class Engine:
    """One account, all symbols. Not thread-safe; every time is passed in as epoch ms."""

    def __init__(self, books: Books, terms: Terms, seed: int) -> None:
        self.books = books
        self.terms = terms
        self.trades: deque[Trade] = deque(maxlen=_KEPT_TRADES)
        self.liquidity: dict[str, Decimal] = {}
        """What a market order finds on the other side, per symbol; unlisted is unlimited."""
        self.last_order_id = 4_000_000_000
        self.last_trade_id = 300_000_000
        self.on_position: Callable[[Position, int], None] = lambda *_: None
        """Called with the position after each fill, and the time in ms."""
        self._random = random.Random(seed)  # noqa: S311 ids of a toy exchange, no secrets

    def new_client_id(self) -> str:
        return "".join(self._random.choices(_ID_LETTERS, k=22))

    def market_price(self, symbol: str, side: Side) -> Decimal:
        """Where a market order trades: mark and slippage, on the tick, rounded against it."""
        slipped = self.books.marks[symbol] * (1 + side.sign * self.terms.slippage)
        return to_step(slipped, self.books.rules[symbol].tick, side)

    def check(self, request: OrderRequest) -> Decimal:
        """The quantity that would be accepted. Raises Refused."""
        rules = self.books.rules_of(request.symbol)
        mark = self.books.marks[request.symbol]
        position = self.books.account.position(request.symbol)
        resting = self.books.orders.open_orders(request.symbol)
        checks.check_form(rules, request, mark, self.market_price(request.symbol, request.side))
        self.books.orders.refuse_duplicate(request.client_order_id)
        if len(resting) >= rules.max_orders:
            raise refusals.Refused(-2025, "Reach max open order limit.")
        if request.reduce_only:
            return checks.reducing_quantity(position, request, resting)
        self._check_margin(request, position, resting)
        return request.quantity

    def _check_margin(
        self, request: OrderRequest, position: Position, resting: list[Order]
    ) -> None:
        enlarging = checks.enlarging_quantity(position, request)
        if not enlarging:
            return
        symbol = request.symbol
        mark = self.books.marks[symbol]
        price = mark if request.type is OrderType.MARKET else request.price
        leverage = self.books.account.leverage(symbol)
        flips = position.amount * request.side.sign < 0
        after = enlarging if flips else abs(position.amount) + enlarging
        checks.check_position_limit(
            after * price,
            checks.enlarging_notional(position, resting),
            self.books.brackets[symbol],
            leverage,
        )
        available = totals(self.books, self.books.rules[symbol].margin_asset).available
        if flips:
            available += abs(position.amount) * mark / leverage
        fee = request.quantity * price * self.terms.taker_fee
        if enlarging * price / leverage + fee > available:
            raise refusals.margin()

    def place(self, request: OrderRequest, now_ms: int) -> Order:
        """Accepts, matches and keeps an order. Raises Refused."""
        if not request.client_order_id:
            request = replace(request, client_order_id=self.new_client_id())
        quantity = self.check(request)
        self._check_time_in_force(request)
        return self._admit(replace(request, quantity=quantity), now_ms)

    def place_behind_our_back(self, request: OrderRequest, now_ms: int) -> Order:
        """A trade of another actor on our account: no checks, it simply happens."""
        self.books.rules_of(request.symbol)
        return self._admit(request, now_ms)

    def _check_time_in_force(self, request: OrderRequest) -> None:
        if request.type is not OrderType.LIMIT:
            return
        crosses = self._crosses(request.side, request.price, self.books.marks[request.symbol])
        if request.time_in_force is TimeInForce.GTX and crosses:
            raise refusals.Refused(
                -5022,
                "Due to the order could not be executed as maker, "
                "the Post Only order will be rejected.",
            )
        if request.time_in_force is TimeInForce.FOK and not crosses:
            raise refusals.Refused(
                -5021,
                "Due to the order could not be filled immediately, "
                "the FOK order has been rejected.",
            )

    @staticmethod
    def _crosses(side: Side, price: Decimal, mark: Decimal) -> bool:
        return mark <= price if side is Side.BUY else mark >= price

    def _admit(self, request: OrderRequest, now_ms: int) -> Order:
        self.last_order_id += 1
        order = Order(
            order_id=self.last_order_id,
            client_order_id=request.client_order_id,
            symbol=request.symbol,
            side=request.side,
            type=request.type,
            orig_qty=request.quantity,
            price=request.price,
            time_in_force=request.time_in_force,
            reduce_only=request.reduce_only,
            close_position=request.close_position,
            good_till_ms=request.good_till_ms,
            self_trade_prevention=request.self_trade_prevention,
            actor=request.actor,
            created_ms=now_ms,
            updated_ms=now_ms,
        )
        self.books.orders.add(order)
        if order.type is OrderType.MARKET:
            self._match_market(order, now_ms)
        else:
            self._match_limit(order, now_ms)
        return order

    def _match_market(self, order: Order, now_ms: int) -> None:
        """What the other side does not take expires."""
        ours = order.actor in (Actor.API, Actor.ALGO)
        offered = self.liquidity.get(order.symbol) if ours else None
        quantity = order.orig_qty if offered is None else min(order.orig_qty, offered)
        if offered is not None:
            self.liquidity[order.symbol] = offered - quantity
        if quantity:
            price = self.market_price(order.symbol, order.side)
            self._fill(order, quantity, price, maker=False, now_ms=now_ms)
        if order.status.is_open:
            self.end(order, OrderStatus.EXPIRED, now_ms)

    def _match_limit(self, order: Order, now_ms: int) -> None:
        mark = self.books.marks[order.symbol]
        if self._crosses(order.side, order.price, mark):
            best = to_step(mark, self.books.rules[order.symbol].tick, order.side)
            price = min(best, order.price) if order.side is Side.BUY else max(best, order.price)
            self._fill(order, order.remaining, price, maker=False, now_ms=now_ms)
        elif order.time_in_force is TimeInForce.IOC:
            self.end(order, OrderStatus.EXPIRED, now_ms)

    def _fill(
        self, order: Order, quantity: Decimal, price: Decimal, *, maker: bool, now_ms: int
    ) -> None:
        rules = self.books.rules[order.symbol]
        position, realized = after_fill(
            self.books.account.position(order.symbol), quantity * order.side.sign, price, now_ms
        )
        realized = to_eight(realized)
        quote = quantity * price
        fee_rate = self.terms.maker_fee if maker else self.terms.taker_fee
        if order.actor is Actor.LIQUIDATION:
            fee_rate = rules.liquidation_fee
        commission = to_eight(quote * fee_rate)
        wallet = self.books.account.wallets.get(rules.margin_asset, ZERO)
        self.books.account.wallets[rules.margin_asset] = wallet + realized - commission
        self.books.account.keep(position)
        order.executed_qty += quantity
        order.cum_quote += quote
        order.updated_ms = now_ms
        done = order.remaining == 0
        order.status = OrderStatus.FILLED if done else OrderStatus.PARTIALLY_FILLED
        self.books.orders.settle(order)
        self.last_trade_id += 1
        self.trades.append(
            Trade(
                trade_id=self.last_trade_id,
                order_id=order.order_id,
                client_order_id=order.client_order_id,
                symbol=order.symbol,
                side=order.side,
                price=price,
                qty=quantity,
                quote_qty=quote,
                commission=commission,
                commission_asset=rules.margin_asset,
                realized_pnl=realized,
                maker=maker,
                actor=order.actor,
                time_ms=now_ms,
            )
        )
        self._drop_idle_reduce_only(position, now_ms)
        self.on_position(position, now_ms)

    def _drop_idle_reduce_only(self, position: Position, now_ms: int) -> None:
        """Resting reduce-only orders that can no longer reduce anything expire."""
        for order in self.books.orders.open_orders(position.symbol):
            if order.reduce_only and position.amount * order.side.sign >= 0:
                self.end(order, OrderStatus.EXPIRED, now_ms)

    def end(self, order: Order, status: OrderStatus, now_ms: int) -> None:
        order.status = status
        order.updated_ms = now_ms
        self.books.orders.settle(order)

    def find(self, symbol: str, order_id: int | None, client_order_id: str) -> Order:
        self.books.rules_of(symbol)
        order = self.books.orders.find(symbol, order_id, client_order_id)
        if order is None:
            raise refusals.no_such_order()
        return order

    def cancel(self, symbol: str, order_id: int | None, client_order_id: str, now_ms: int) -> Order:
        self.books.rules_of(symbol)
        order = self.books.orders.find(symbol, order_id, client_order_id)
        if order is None or not order.status.is_open:
            raise refusals.unknown_order()
        self.end(order, OrderStatus.CANCELED, now_ms)
        return order

    def cancel_all(self, symbol: str, now_ms: int) -> int:
        self.books.rules_of(symbol)
        resting = self.books.orders.open_orders(symbol)
        for order in resting:
            self.end(order, OrderStatus.CANCELED, now_ms)
        return len(resting)

    def move_mark(self, symbol: str, price: Decimal, now_ms: int) -> None:
        """Sets the mark price and fills the resting orders that it reaches, as maker."""
        self.books.rules_of(symbol)
        self.books.marks[symbol] = price
        for order in self.books.orders.open_orders(symbol):
            if order.status.is_open and self._crosses(order.side, order.price, price):
                self._fill_resting(order, now_ms)

    def _fill_resting(self, order: Order, now_ms: int) -> None:
        quantity = order.remaining
        if order.reduce_only:
            quantity = min(quantity, abs(self.books.account.position(order.symbol).amount))
        self._fill(order, quantity, order.price, maker=True, now_ms=now_ms)
        if order.status.is_open:
            self.end(order, OrderStatus.EXPIRED, now_ms)

    def expire_dated(self, now_ms: int) -> None:
        for order in self.books.orders.open_orders():
            if order.time_in_force is TimeInForce.GTD and 0 < order.good_till_ms <= now_ms:
                self.end(order, OrderStatus.EXPIRED, now_ms)
