"""Whatever is sent and however the price moves, the books stay right."""

from __future__ import annotations

import contextlib
from decimal import Decimal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from paper_exchange.domain.engine import Terms
from paper_exchange.domain.margins import totals
from paper_exchange.domain.orders import OrderRequest
from paper_exchange.domain.refusals import Refused
from paper_exchange.domain.values import Actor, OrderStatus, OrderType, Side, TimeInForce, to_eight
from paper_exchange.exchange import Exchange
from paper_exchange.listing import make_market, synthetic_info

MARKET = make_market(synthetic_info(0, 1), {}, {})
SYMBOLS = ("BTCUSDT", "AVAXUSDT")
symbols = st.sampled_from(SYMBOLS)
sides = st.sampled_from(tuple(Side))
lots = st.integers(1, 400)
moves = st.integers(-120, 120).map(lambda n: 1 + Decimal(n) / 1_000)


class Account(RuleBasedStateMachine):
    @initialize(slippage=st.sampled_from(("0", "0.001")))
    def start(self, slippage: str) -> None:
        self.now_ms = 1_700_000_000_000
        terms = Terms(slippage=Decimal(slippage))
        self.exchange = Exchange(MARKET, {"USDT": Decimal(5_000)}, terms, 1, self.now_ms)
        self.deposits = Decimal(5_000)

    def _quantity(self, symbol: str, count: int) -> Decimal:
        return self.exchange.rules[symbol].lot.step * count

    @rule(symbol=symbols, side=sides, count=lots, reduce_only=st.booleans())
    def market_order(self, symbol: str, side: Side, count: int, reduce_only: bool) -> None:
        before = self.exchange.books.account.position(symbol).amount
        quantity = self._quantity(symbol, count)
        request = OrderRequest(symbol, side, OrderType.MARKET, quantity, reduce_only=reduce_only)
        try:
            order = self.exchange.engine.place(request, self.now_ms)
        except Refused:
            assert self.exchange.books.account.position(symbol).amount == before
            return
        after = self.exchange.books.account.position(symbol).amount
        assert order.status is OrderStatus.FILLED
        assert after - before == order.executed_qty * side.sign
        if reduce_only:
            assert abs(after) < abs(before)
            assert after * before >= 0
            assert order.orig_qty <= min(quantity, abs(before))

    @rule(symbol=symbols, side=sides, count=lots, away=moves, reduce_only=st.booleans())
    def limit_order(
        self, symbol: str, side: Side, count: int, away: Decimal, reduce_only: bool
    ) -> None:
        tick = self.exchange.rules[symbol].tick
        price = self.exchange.books.marks[symbol] * away // tick * tick
        request = OrderRequest(
            symbol,
            side,
            OrderType.LIMIT,
            self._quantity(symbol, count),
            price=price,
            time_in_force=TimeInForce.GTC,
            reduce_only=reduce_only,
        )
        with contextlib.suppress(Refused):
            self.exchange.engine.place(request, self.now_ms)

    @rule(symbol=symbols, factor=moves)
    def price_moves(self, symbol: str, factor: Decimal) -> None:
        rules = self.exchange.rules[symbol]
        price = self.exchange.books.marks[symbol] * factor
        price = min(max(price, rules.min_price), rules.max_price)
        self.now_ms += 1_000
        self.exchange.set_price(symbol, price, self.now_ms)

    @rule(amount=st.integers(1, 2_000).map(Decimal))
    def deposit(self, amount: Decimal) -> None:
        self.exchange.deposit("USDT", amount, self.now_ms)
        self.deposits += amount

    @precondition(lambda self: self.exchange.books.account.positions)
    @rule(actor=st.sampled_from((Actor.HAND, Actor.ADL)))
    def somebody_closes(self, actor: Actor) -> None:
        symbol = next(iter(self.exchange.books.account.positions))
        self.exchange.close_behind_our_back(symbol, actor, self.now_ms)

    @invariant()
    def the_wallet_is_deposits_and_profits_less_fees(self) -> None:
        trades = self.exchange.engine.trades
        booked = sum((t.realized_pnl - t.commission for t in trades), self.deposits)
        assert self.exchange.books.account.wallets["USDT"] == booked

    @invariant()
    def positions_are_the_sum_of_the_trades(self) -> None:
        for symbol in SYMBOLS:
            trades = [t for t in self.exchange.engine.trades if t.symbol == symbol]
            held = sum((t.qty * t.side.sign for t in trades), Decimal(0))
            assert self.exchange.books.account.position(symbol).amount == held

    @invariant()
    def equity_follows_from_the_trades_alone(self) -> None:
        """Deposits, less fees, plus what the trades' cash and the holdings are worth."""
        marks = self.exchange.books.marks
        worth = self.deposits
        for t in self.exchange.engine.trades:
            worth += t.qty * t.side.sign * (marks[t.symbol] - t.price) - t.commission
        equity = totals(self.exchange.books, "USDT").margin_balance
        slack = Decimal("0.0000001") * (len(self.exchange.engine.trades) + 1)
        assert abs(to_eight(equity) - to_eight(worth)) <= slack

    @invariant()
    def open_orders_are_open_and_their_ids_unique(self) -> None:
        resting = self.exchange.books.orders.open_orders()
        assert all(o.status.is_open and o.remaining > 0 for o in resting)
        assert len({o.client_order_id for o in resting}) == len(resting)

    @invariant()
    def resting_reduce_only_orders_can_still_reduce(self) -> None:
        for order in self.exchange.books.orders.open_orders():
            if order.reduce_only:
                amount = self.exchange.books.account.position(order.symbol).amount
                assert amount * order.side.sign < 0

    @invariant()
    def no_position_outlives_its_margin(self) -> None:
        state = totals(self.exchange.books, "USDT")
        if self.exchange.books.account.positions:
            assert state.margin_balance >= state.maintenance


TestAccount = Account.TestCase
TestAccount.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
