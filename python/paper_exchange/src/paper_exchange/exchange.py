"""The exchange as one thing: engine, conditional orders, prices, candles and timers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from .domain import forced
from .domain.account import Account
from .domain.algos import AlgoDesk
from .domain.books import Books
from .domain.brackets import Bracket, max_notional
from .domain.candles import CandleSeries
from .domain.engine import Engine, Terms
from .domain.margins import totals
from .domain.orders import Order
from .domain.refusals import Refused, position_limit
from .domain.symbols import SymbolRules
from .domain.values import EIGHT_PLACES, ZERO, Actor, Side


@dataclass(frozen=True, slots=True)
class Market:
    """What is traded: the `exchangeInfo` document, brackets and first prices by symbol."""

    info: Mapping[str, Any]
    brackets: Mapping[str, tuple[Bracket, ...]]
    prices: Mapping[str, Decimal]


class Exchange:
    """Times are epoch milliseconds by the exchange's own clock."""

    def __init__(
        self, market: Market, wallets: Mapping[str, Decimal], terms: Terms, seed: int, now_ms: int
    ) -> None:
        self.market = market
        self._wallets = dict(wallets)
        self._terms = terms
        self._seed = seed
        self.rules = {
            entry["symbol"]: SymbolRules.from_exchange_info(entry)
            for entry in market.info["symbols"]
        }
        self._set_up(now_ms)

    def _set_up(self, now_ms: int) -> None:
        self.books = Books(
            rules=self.rules,
            brackets=self.market.brackets,
            account=Account(wallets=dict(self._wallets), updated_ms=now_ms),
            marks=dict(self.market.prices),
        )
        self.engine = Engine(self.books, self._terms, self._seed)
        self.algos = AlgoDesk(self.engine)
        self.countdowns: dict[str, int] = {}
        self._candles = {s: CandleSeries(p, now_ms) for s, p in self.books.marks.items()}

    def reset(self, now_ms: int) -> None:
        """Back to the first balances and prices; no order, position or trade is left.

        Ids go on where they were, so that nothing gets the id of something forgotten.
        """
        last = self.engine.last_order_id, self.engine.last_trade_id, self.algos.last_algo_id
        self._set_up(now_ms)
        self.engine.last_order_id, self.engine.last_trade_id, self.algos.last_algo_id = last

    @property
    def changes(self) -> tuple[int, int, int]:
        """Differs after every trade and every other change of an order."""
        return self.engine.last_trade_id, self.books.orders.endings, self.algos.endings

    def set_price(self, symbol: str, price: Decimal, now_ms: int) -> None:
        self.set_prices({symbol: price}, now_ms)

    def set_prices(self, prices: Mapping[str, Decimal], now_ms: int) -> None:
        """Moves mark prices; resting orders fill, conditional ones trigger, margins break.

        All of them or none: raises Refused for an unknown symbol, ValueError for a bad price.
        """
        rounded = {symbol: price.quantize(EIGHT_PLACES) for symbol, price in prices.items()}
        for symbol, price in rounded.items():
            self.books.rules_of(symbol)
            if price <= 0:
                raise ValueError(f"the price of {symbol} must be above zero, not {price}")
        for symbol, price in rounded.items():
            self._candles[symbol].see(price, now_ms)
            self.engine.move_mark(symbol, price, now_ms)
            self.algos.trigger_due(symbol, now_ms)
        for asset in {self.rules[symbol].margin_asset for symbol in rounded}:
            forced.liquidate_if_due(self.engine, asset, now_ms)

    def candles(self, symbol: str) -> CandleSeries:
        self.books.rules_of(symbol)
        return self._candles[symbol]

    def tick(self, now_ms: int) -> None:
        """Runs what is due: dated orders and cancel countdowns."""
        self.engine.expire_dated(now_ms)
        for symbol, due_ms in list(self.countdowns.items()):
            if due_ms <= now_ms:
                del self.countdowns[symbol]
                self.engine.cancel_all(symbol, now_ms)

    def start_countdown(self, symbol: str, countdown_ms: int, now_ms: int) -> None:
        """Cancels the symbol's open orders unless called again in time; 0 stops it."""
        self.books.rules_of(symbol)
        if countdown_ms:
            self.countdowns[symbol] = now_ms + countdown_ms
        else:
            self.countdowns.pop(symbol, None)

    def max_notional(self, symbol: str) -> Decimal:
        return max_notional(self.books.brackets[symbol], self.books.account.leverage(symbol))

    def set_leverage(self, symbol: str, leverage: int) -> None:
        rules = self.books.rules_of(symbol)
        brackets = self.books.brackets[symbol]
        if not 1 <= leverage <= brackets[0].initial_leverage:
            raise Refused(-4028, f"Leverage {leverage} is not valid")
        account = self.books.account
        notional = abs(account.position(symbol).amount) * self.books.marks[symbol]
        if notional > max_notional(brackets, leverage):
            raise position_limit()
        before = account.leverage(symbol)
        account.leverages[symbol] = leverage
        state = totals(self.books, rules.margin_asset)
        if leverage < before and state.margin_balance < state.position_initial:
            account.leverages[symbol] = before
            raise Refused(-2028, "Leverage is smaller than permitted: insufficient margin balance.")

    def set_hedge_mode(self, hedge: bool) -> None:
        account = self.books.account
        if account.hedge_mode == hedge:
            raise Refused(-4059, "No need to change position side.")
        if self.books.orders.open_orders() or self.algos.open_algos():
            raise Refused(-4067, "Position side cannot be changed if there exists open orders.")
        if account.positions:
            raise Refused(-4068, "Position side cannot be changed if there exists position.")
        account.hedge_mode = hedge

    def set_margin_type(self, symbol: str, isolated: bool) -> None:
        """Kept and reported only: all margin arithmetic here is cross."""
        self.books.rules_of(symbol)
        account = self.books.account
        if (symbol in account.isolated) == isolated:
            raise Refused(-4046, "No need to change margin type.")
        if self.books.orders.open_orders(symbol):
            raise Refused(-4047, "Margin type cannot be changed if there exists open orders.")
        if not account.position(symbol).is_flat:
            raise Refused(-4048, "Margin type cannot be changed if there exists position.")
        if isolated:
            account.isolated.add(symbol)
        else:
            account.isolated.discard(symbol)

    def deposit(self, asset: str, amount: Decimal, now_ms: int) -> Decimal:
        """The new balance; a negative amount withdraws."""
        wallets = self.books.account.wallets
        wallets[asset] = wallets.get(asset, ZERO) + amount
        self.books.account.updated_ms = now_ms
        return wallets[asset]

    def trade_behind_our_back(
        self, symbol: str, side: Side, quantity: Decimal, actor: Actor, now_ms: int
    ) -> Order:
        self.books.rules_of(symbol)
        return forced.trade_behind_our_back(self.engine, symbol, side, quantity, actor, now_ms)

    def close_behind_our_back(self, symbol: str, actor: Actor, now_ms: int) -> Order:
        """Raises ValueError when there is no position to close."""
        self.books.rules_of(symbol)
        if self.books.account.position(symbol).is_flat:
            raise ValueError(f"there is no position in {symbol}")
        return forced.close_whole(self.engine, symbol, actor, now_ms)
