"""The executor's sessions in the test's own process, before an exchange of the test's own that
holds every order against the promises as it arrives."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import redis

from paper_exchange.testing import PaperExchange
from quantum_exit import keys
from quantum_exit.binance.client import Client
from quantum_exit.binance.clock import ClockSample, ExchangeClock
from quantum_exit.binance.errors import Accepted, NotSent, RateLimited, Refused, Unknown
from quantum_exit.binance.model import Credentials, OrderAck, OrderNotFound, SymbolRules, Trade
from quantum_exit.binance.rate import RateState
from quantum_exit.binance.signing import SignedRequest
from quantum_exit.bus.connection import connect
from quantum_exit.executor.market import Market
from quantum_exit.executor.session import Session
from quantum_exit.executor.settings import from_environ
from quantum_exit.executor.tape import Tape

from .harness import World

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
HELD = 100_000
FENCE_MS = 100
FATES: dict[str, Any] = {
    "shed": Refused(503, -1008, "overloaded", retryable=True),
    "not sent": NotSent("no connection"),
    "refused": Refused(400, -4164, "no"),
    "lost": Unknown("filled, and no answer"),
    "dawdles": Unknown("filled after the answer was given up"),
    "never": Unknown("never arrived"),
}
"""Of an order; others are `at once`, `late`, `limited` and `unfilled`."""


class Exchange:
    base_url, api_key, secret_key = "http://127.0.0.1:9", "key", "secret"

    def __init__(self, redis_url: str, fate: Callable[[], str] = lambda: "at once") -> None:
        self.redis: Any = connect(redis_url, decode=True)
        self.fate = fate
        self.lock = threading.Lock()
        self.positions = dict.fromkeys(SYMBOLS, Decimal(HELD))
        self.orders: dict[str, OrderAck] = {}
        self.sent: list[tuple[str, str, str]] = []
        """Symbol, plan and client id, as they arrived."""
        self.at_order: dict[int, Callable[[], object]] = {}
        """What happens while the n-th order is on the wire."""
        self.on_the_wire: set[str] = set()
        self.killed_ms: float | None = None
        self.broken: list[str] = []

    def reset(self) -> None:
        """It stays as it is."""

    def state(self) -> dict[str, Any]:
        row = {"entry_price": "100", "mark_price": "100"}
        held = self.positions.items()
        return {"positions": {symbol: {**row, "amount": str(amount)} for symbol, amount in held}}

    def arrived(self, request: SignedRequest) -> str:
        symbol, client_id, killed_ms = request.symbol, request.client_id, self.killed_ms
        grants = [json.loads(text) for text in self.redis.hvals(keys.EXECUTOR_OPEN)]
        granted = [g["plan_id"] for g in grants if g["client_order_id"] == client_id]
        with self.lock:
            for promise, holds in {
                "granted": granted,
                "sent once": client_id not in {order[2] for order in self.sent},
                "one of a symbol": symbol not in self.on_the_wire,
                "signed before a kill": killed_ms is None or request.timestamp_ms <= killed_ms,
            }.items():
                if not holds:
                    self.broken.append(f"{promise}: {request} of plan {granted}")
            self.on_the_wire.add(symbol)
            self.sent.append((symbol, *(granted or [""]), client_id))
            self.at_order.pop(len(self.sent), lambda: None)()
            return self.fate()

    def end(self, request: SignedRequest, status: str = "FILLED") -> OrderAck:
        told = dict(pair.split("=") for pair in request.body_or_query.split("&"))
        side, qty = told["side"], Decimal(told["quantity"])
        filled = qty if status == "FILLED" else Decimal(0)
        with self.lock:
            self.positions[request.symbol] += filled if side == "BUY" else -filled
            named = (request.symbol, len(self.orders) + 1, request.client_id, status, side)
            ack = OrderAck(*named, "MARKET", qty, filled, None, told["reduceOnly"] == "true", 1)
            self.orders[request.client_id] = ack
        return ack


class Hands(Client):
    """A client of that exchange."""

    def __init__(self, exchange: Exchange, clock: ExchangeClock, rate: RateState) -> None:
        key = Credentials(exchange.api_key, exchange.secret_key)
        super().__init__(key, exchange.base_url, clock=clock, rate=rate, recv_window_ms=FENCE_MS)
        self.exchange = exchange

    def send(self, request: SignedRequest) -> Any:
        fate = self.exchange.arrived(request)
        try:
            return self._suffer(fate, request)
        finally:
            self.exchange.on_the_wire.discard(request.symbol)

    def _suffer(self, fate: str, request: SignedRequest) -> Any:
        if fate == "limited":
            self.rate.pause(0.05, 429, orders_only=True)
            return RateLimited(429, -1015, "too many", 0.05, banned=False)
        if fate == "dawdles":
            threading.Timer(FENCE_MS / 3000, self._end_within_its_window, [request]).start()
        elif fate == "lost":
            self.exchange.end(request)
        elif fate not in FATES:
            time.sleep(0.06 if fate == "late" else 0.001)
            return Accepted(
                self.exchange.end(request, "EXPIRED" if fate == "unfilled" else "FILLED")
            )
        return FATES[fate]

    def _end_within_its_window(self, request: SignedRequest) -> None:
        if time.time() * 1000 <= request.fence_ms:
            self.exchange.end(request)

    def query_order(self, symbol: str, client_order_id: str) -> OrderAck | OrderNotFound:
        return self.exchange.orders.get(client_order_id) or OrderNotFound(symbol, client_order_id)

    def user_trades(self, *_: Any, **__: Any) -> list[Trade]:
        return []


class Inside:
    """The world of such an executor, and the main loop's part: a session that has ended is
    followed by another one."""

    def __init__(
        self, redis_url: str, directory: Path, exchange: Exchange | None = None, **environ: str
    ) -> None:
        self.exchange = exchange or Exchange(redis_url)
        self.world = World(redis_url, cast(PaperExchange, self.exchange), directory)
        self.world.be_well()
        self.market, self.clock, rate = Market(), ExchangeClock(), RateState()
        one, most = Decimal(1), Decimal(999)
        rules = SymbolRules("", "TRADING", one, *[one, one, most] * 2, one, one * 2, one)
        self.market.take_rules(dict.fromkeys(SYMBOLS, rules))
        self.market.not_ready = ""
        environ = self.world.environ(QUANTUM_RECV_WINDOW_MS=str(FENCE_MS), **environ)
        clients: Any = SimpleNamespace(
            clock=self.clock, make=lambda: Hands(self.exchange, self.clock, rate)
        )
        self._begin = partial(Session, from_environ(environ), self.market, clients, Tape())
        self._session: Session | None = None
        self.tend()

    @property
    def session(self) -> Session:
        assert self._session is not None
        return self._session

    def tend(self) -> None:
        mono = time.monotonic()
        self.clock.add(ClockSample(int(time.time() * 1000), mono, mono))
        self.market.take_marks(dict.fromkeys(SYMBOLS, Decimal(100)))
        self.world.observe()
        if self._session is None or self._session.stop.is_set():
            self.close()
            self._session = self._begin()
            self._session.start()

    def close(self) -> None:
        """May be repeated. Fails if a session ended for another reason than Redis."""
        if self._session is not None:
            self._session.close()
            failure = self._session.failure
            assert failure is None or isinstance(failure, redis.RedisError), failure
