"""A brain driven cycle by cycle: an exchange made of a few fields, a real Redis, a set clock."""

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import redis

from quantum_exit import keys
from quantum_exit.binance.clock import ClockSample, ExchangeClock
from quantum_exit.binance.model import AlgoAck, AlgoNotFound, Kline, Position, PositionRows
from quantum_exit.brain.service import BrainService
from quantum_exit.brain.settings import from_environ
from quantum_exit.bus.connection import connect
from quantum_exit.gates.model import intent_identity
from quantum_exit.kill_switch import dump_runtime
from quantum_exit.messages import ExitIntent, parse_intent
from quantum_exit.signing import Signer
from quantum_exit.systemd import Notifier

SEED = "11" * 32
PUBLIC = Signer(SEED).public_hex
OWNER = "exitbrain_v3_5"
LIVE = {
    "EXIT_BRAIN_EXCHANGE_STOP": "false",
    "EXIT_BRAIN_V35_ENABLED": "true",
    "EXIT_MODE": "EXIT_BRAIN_V3",
    "EXIT_EXECUTOR_MODE": "LIVE",
    "EXIT_BRAIN_V3_LIVE_ROLLOUT": "ENABLED",
}
CREDENTIALS = {
    "BINANCE_TESTNET": "true",
    "BINANCE_API_KEY": "key",
    "BINANCE_API_SECRET": "secret",
    "BINANCE_BASE_URL": "http://127.0.0.1:9",
}
PARAMS: Mapping[str, object] = {"default": {"stop_loss_pct": "2"}}


class Clock:
    """Wall and monotonic time that pass only when told to."""

    def __init__(self, start: float | None = None) -> None:
        self.now = time.time() if start is None else start

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class FakeExchange:
    """Answers what its fields say, counts the calls, and fails when told to."""

    def __init__(self, clock: Clock) -> None:
        self.clock = ExchangeClock(fresh_for_s=1e9)
        self.held: dict[str, Position] = {}
        self.marks: dict[str, Decimal] = {}
        self.algos: dict[str, AlgoAck] = {}
        self.candles: list[Kline] = []
        self.hedge = False
        self.error: Exception | None = None
        self.failing: dict[str, Exception] = {}
        self.unreadable: set[str] = set()
        self.ahead_ms = 0
        self.calls: list[str] = []
        self._wall = clock

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.error is not None:
            raise self.error
        if name in self.failing:
            raise self.failing[name]

    def hold(
        self, symbol: str, amount: str, entry: str, mark: str | None = None, side: str = "BOTH"
    ) -> None:
        """Zero closes it. Without a mark the price is the entry."""
        if Decimal(amount) == 0:
            self.held.pop(symbol, None)
            return
        before = self.held.get(symbol)
        changed = before is None or before.amount != Decimal(amount)
        updated = int(self._wall.now * 1000) if changed or before is None else before.update_time_ms
        self.marks[symbol] = Decimal(mark or entry)
        self.held[symbol] = Position(
            symbol=symbol,
            amount=Decimal(amount),
            entry_price=Decimal(entry),
            mark_price=self.marks[symbol],
            unrealized_pnl=Decimal(0),
            leverage=None,
            liquidation_price=None,
            update_time_ms=updated,
            position_side=side,
        )

    def position_rows(self) -> PositionRows:
        self._call("positions")
        held = (p for p in self.held.values() if p.symbol not in self.unreadable)
        return PositionRows(
            tuple(replace(p, mark_price=self.marks[p.symbol]) for p in held),
            frozenset(self.unreadable),
        )

    def dual_side(self) -> bool:
        self._call("dual_side")
        return self.hedge

    def klines(self, symbol: str, interval: str, limit: int = 500) -> list[Kline]:
        self._call(f"klines {symbol} {interval}")
        return self.candles[-limit:]

    def sync_clock(self, samples: int = 2) -> None:
        self._call(f"sync_clock {samples}")
        now = self._wall.now
        self.clock = ExchangeClock(fresh_for_s=1e9)
        self.clock.add(ClockSample(int(now * 1000) + self.ahead_ms, now, now))

    def open_algo_orders(self, symbol: str | None = None) -> list[AlgoAck]:
        self._call("open_algo_orders")
        resting = [algo for algo in self.algos.values() if algo.status == "NEW"]
        return [algo for algo in resting if symbol in (None, algo.symbol)]

    def query_algo(self, client_algo_id: str) -> AlgoAck | AlgoNotFound:
        self._call("query_algo")
        return self.algos.get(client_algo_id, AlgoNotFound(client_algo_id))


class Brain:
    """One brain process, as far as Redis and the exchange can tell. `restart` is kill -9."""

    def __init__(self, redis_url: str, environ: Mapping[str, str] | None = None) -> None:
        self.url = redis_url
        self.clock = Clock()
        self.exchange = FakeExchange(self.clock)
        self.redis: redis.Redis = connect(redis_url, decode=True)
        self.environ = {
            **CREDENTIALS,
            **LIVE,
            "REDIS_URL": redis_url,
            "QUANTUM_SIGNING_KEY": SEED,
            **(environ or {}),
        }
        self.switch(active=False)
        self.policy(PARAMS)
        self.service = self._make()

    def _make(self) -> BrainService:
        return BrainService(
            from_environ(self.environ),
            self.exchange,
            connect(self.url),
            Notifier({}),
            wall=self.clock,
            monotonic=self.clock,
        )

    def restart(self, **environ: str) -> None:
        self.environ.update(environ)
        self.service = self._make()

    def cycle(self, times: int = 1, *, every_s: float = 1.0) -> None:
        for _ in range(times):
            self.clock.advance(every_s)
            self.service.run_once()

    def price(self, symbol: str, price: str) -> None:
        self.exchange.marks[symbol] = Decimal(price)

    def switch(self, *, active: bool) -> None:
        document = dump_runtime(active=active, by="test", reason="", at="", epoch=0)
        self.redis.set(keys.KILL_SWITCH, document)

    def kline(self, high: str, low: str, close: str) -> Kline:
        top, bottom, last = Decimal(high), Decimal(low), Decimal(close)
        return Kline(0, last, top, bottom, last, Decimal(1), 59_999)

    def policy(self, params: Mapping[str, object], *, valid_for_s: float = 1e6) -> None:
        self.redis.hset(
            keys.POLICY_CURRENT,
            mapping={
                "universe_symbols": "[]",
                "leverage_by_symbol": "{}",
                "harvest_params": json.dumps(params),
                "kill_params": "{}",
                "valid_until_epoch": str(int(self.clock.now + valid_for_s)),
                "policy_version": "1",
                "policy_hash": "",
            },
        )

    def answer(self, intent: ExitIntent, *, filled: str = "", error: str = "") -> None:
        """The executor's result for the plan that the Apply Layer made of this intent."""
        executed = bool(filled)
        plan_id = f"exit-{intent.intent_id}"
        self.redis.set(keys.executor_done(intent_identity(OWNER, plan_id, intent.intent_id)), "1")
        self.result(
            plan_id,
            intent.symbol,
            intent.side.exit_order_side.value,
            filled or "0",
            error=error,
            decision="EXECUTED" if executed else "DENIED",
            plan_source=OWNER,
        )

    def result(
        self,
        plan_id: str,
        symbol: str,
        side: str,
        filled: str,
        *,
        error: str = "",
        decision: str = "EXECUTED",
        plan_source: str = "intent_bridge",
    ) -> None:
        self.redis.xadd(
            keys.APPLY_RESULT,
            {
                "event_type": "apply.result",
                "plan_id": plan_id,
                "symbol": symbol,
                "executed": "true" if decision == "EXECUTED" else "false",
                "decision": decision,
                "error": error,
                "side": side,
                "filled_qty": filled,
                "plan_source": plan_source,
            },
        )

    @property
    def intents(self) -> list[ExitIntent]:
        parsed = [parse_intent(fields) for fields in self.entries(keys.EXIT_INTENT)]
        assert all(isinstance(intent, ExitIntent) for intent in parsed), parsed
        return [intent for intent in parsed if isinstance(intent, ExitIntent)]

    @property
    def shadow(self) -> list[dict[str, str]]:
        return self.entries(keys.EXIT_SHADOW)

    @property
    def heartbeat(self) -> dict[str, str]:
        self.service.beat()
        return dict(self.redis.hgetall(keys.heartbeat("exitbrain")))

    def alerts(self, alert_type: str) -> list[dict[str, Any]]:
        return [
            {**json.loads(fields["details"]), "severity": fields["severity"]}
            for fields in self.entries(keys.ALERTS)
            if fields["alert_type"] == alert_type
        ]

    def entries(self, stream: str) -> list[dict[str, str]]:
        found: Any = self.redis.xrange(stream)
        return [dict(fields) for _, fields in found]
