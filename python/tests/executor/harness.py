"""The executor as a process of its own, beside a real Redis and a real paper exchange.

What else belongs to the system is played here: the snapshots and permits of P3.3, the policy,
the owner with its signing key, and other producers.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import redis

from paper_exchange.testing import FillRecord, OrderRecord, PaperExchange
from quantum_exit import keys
from quantum_exit.bus.connection import connect
from quantum_exit.kill_switch import dump_runtime
from quantum_exit.sanity.snapshot import snapshot_fields
from quantum_exit.signing import INTENT_FIELDS, PLAN_FIELDS, Signer
from quantum_exit.values import format_number

OWNER = "exitbrain_v3_5"
BRIDGE = "intent_bridge"
SIGNER = Signer("44" * 32)
Fields = dict[str, str]

_numbers = itertools.count(1)


def wait_for(condition: Callable[[], object], what: str, timeout_s: float = 10.0) -> None:
    """Polls until `condition()` is true; fails naming `what` when it never is."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.005)


class Executor:
    """One executor process; its log is kept in `directory`."""

    def __init__(self, world: World, name: str, environ: Mapping[str, str]) -> None:
        self._world = world
        self.log_file = world.directory / f"executor-{name}.log"
        self._log = self.log_file.open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "quantum_exit.executor"],
            env=dict(environ),
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def beat(self) -> dict[str, str]:
        """Its heartbeat; empty while another process's is there, or none."""
        beat: Any = self._world.redis.hgetall(keys.heartbeat("intent_executor"))
        return dict(beat) if beat.get("pid") == str(self.pid) else {}

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log()[-3000:]
        return self.beat().get("ready") == "true"

    def wait_ready(self, timeout_s: float = 15.0) -> None:
        wait_for(self.is_ready, "executor ready", timeout_s)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL; harmless when it is dead already."""
        self.process.kill()
        self.process.wait()
        self._log.close()

    def stop(self) -> int:
        """SIGTERM, as the service manager stops it; the exit status."""
        self.process.terminate()
        code = self.process.wait(20)
        self._log.close()
        return code

    def wait_dead(self, timeout_s: float = 10.0) -> None:
        self.process.wait(timeout_s)
        self._log.close()

    def is_frozen(self) -> bool:
        """Stopped by SIGSTOP, all of its threads."""
        status = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return status == "T"

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")


class World:
    """Redis, the exchange, and everybody the executor deals with."""

    def __init__(self, redis_url: str, exchange: PaperExchange, directory: Path) -> None:
        self.redis_url = redis_url
        self.redis: redis.Redis = connect(redis_url, decode=True)
        self.exchange = exchange
        self.directory = directory
        self.kill_file = directory / "kill_switch"
        self.executors: list[Executor] = []
        self._results_from = "-"

    # The executor

    def environ(self, **extra: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PYTHONUNBUFFERED": "1",
            "REDIS_URL": self.redis_url,
            "BINANCE_TESTNET": "true",
            "BINANCE_BASE_URL": self.exchange.base_url,
            "BINANCE_API_KEY": self.exchange.api_key,
            "BINANCE_API_SECRET": self.exchange.secret_key,
            "QUANTUM_KILL_FILE": str(self.kill_file),
            "QUANTUM_PUBLIC_KEY_EXITBRAIN_V3_5": SIGNER.public_hex,
            "QUANTUM_LOCK_FILE": str(self.directory / "leader.lock"),
            "INTENT_EXECUTOR_PERMIT_WAIT_S": "0.5",
            **extra,
        }

    def start(self, *, wait: bool = True, **extra: str) -> Executor:
        executor = Executor(self, f"{len(self.executors)}", self.environ(**extra))
        self.executors.append(executor)
        if wait:
            executor.wait_ready()
        return executor

    def close(self) -> None:
        for executor in self.executors:
            if executor.process.poll() is None:
                executor.signal(signal.SIGCONT)
                executor.kill()
        self.redis.close()

    # The world as it should be

    def be_well(self) -> None:
        """Switch off in all places, a valid policy, nothing delegated, the exchange fresh."""
        self.exchange.reset()
        self.kill_file.write_text("off\n")
        self.switch(active=False)
        for pattern in ("quantum:delegation:*", "quantum:position:*", "quantum:executor:stopped:*"):
            for name in self.redis.scan_iter(pattern):
                self.redis.delete(name)
        self.redis.delete(keys.MANUAL_LANE_ENABLED, keys.BRAIN_ENV_KILL)
        self.publish_policy("BTCUSDT", "ETHUSDT", "SOLUSDT", "AVAXUSDT")
        self.observe()

    def switch(self, *, active: bool) -> None:
        text = dump_runtime(active=active, by="test", reason="", at="", epoch=time.time())
        self.redis.set(keys.KILL_SWITCH, text)

    def publish_policy(self, *symbols: str, lasts_s: float = 3600, leverage: int = 0) -> None:
        by_symbol = dict.fromkeys(symbols, leverage) if leverage else {}
        self.redis.hset(
            keys.POLICY_CURRENT,
            mapping={
                "universe_symbols": json.dumps(symbols),
                "leverage_by_symbol": json.dumps(by_symbol),
                "harvest_params": "{}",
                "kill_params": "{}",
                "valid_until_epoch": f"{time.time() + lasts_s:.3f}",
                "policy_version": "1",
                "policy_hash": "0",
            },
        )

    def hold(self, symbol: str, amount: str) -> None:
        """A position that is there and observed."""
        self.exchange.set_position(symbol, amount)
        self.observe()

    def observe(self) -> None:
        """As P3.3 does: all snapshots anew from what the exchange holds now."""
        now = time.time()
        held = self.exchange.state()["positions"]
        held = {symbol: row for symbol, row in held.items() if Decimal(row["amount"])}
        pipe = self.redis.pipeline()
        for name in self.redis.scan_iter(keys.snapshot("*")):
            pipe.delete(name)
        for symbol, row in held.items():
            fields = snapshot_fields(
                amount=Decimal(row["amount"]),
                entry_price=Decimal(row["entry_price"]),
                mark_price=Decimal(row["mark_price"]),
                leverage=None,
                unrealized_pnl=Decimal(0),
                ts_epoch=now,
            )
            pipe.hset(keys.snapshot(symbol), mapping=fields)
        state = {"ts_epoch": f"{now:.6f}", "symbols": json.dumps(sorted(held))}
        pipe.hset(keys.SNAPSHOT_STATE, mapping=state)
        pipe.execute()

    def pretend(self, symbol: str, amount: str, age_s: float = 0.0) -> None:
        """A snapshot of our choosing, whatever the exchange holds."""
        self.redis.delete(keys.snapshot(symbol))
        self.redis.hset(
            keys.snapshot(symbol),
            mapping={"position_amt": amount, "ts_epoch": f"{time.time() - age_s:.6f}"},
        )

    # Plans

    @staticmethod
    def plan(**changes: str | None) -> Fields:
        fields: dict[str, str | None] = {
            "plan_id": f"p-{next(_numbers)}",
            "decision": "EXECUTE",
            "symbol": "BTCUSDT",
            "side": "SELL",
            "type": "MARKET",
            "qty": "1",
            "reduceOnly": "true",
            "source": OWNER,
            "timestamp": f"{time.time():.6f}",
            **changes,
        }
        return {name: value for name, value in fields.items() if value is not None}

    @classmethod
    def signed(cls, **changes: str | None) -> Fields:
        """The owner's own plan."""
        fields = cls.plan(**changes)
        return {**fields, "sig": SIGNER.sign(fields, PLAN_FIELDS)}

    @classmethod
    def opening(cls, **changes: str | None) -> Fields:
        """As another producer opens a position."""
        base: dict[str, str | None] = {
            "source": BRIDGE,
            "signature": BRIDGE,
            "side": "BUY",
            "reduceOnly": "false",
            "qty": "0.01",
        }
        return cls.plan(**{**base, **changes})

    @staticmethod
    def intent(**changes: str | None) -> Fields:
        """The owner's signed exit intent."""
        given: dict[str, str | None] = {
            "intent_id": f"i-{next(_numbers)}",
            "symbol": "BTCUSDT",
            "action": "FULL_CLOSE",
            "side": "LONG",
            "quantity": "1",
            "reason": "stop_loss",
            "source": OWNER,
            "ts_epoch": f"{time.time():.6f}",
            **changes,
        }
        fields = {name: value for name, value in given.items() if value is not None}
        return {**fields, "sig": SIGNER.sign(fields, INTENT_FIELDS)}

    @classmethod
    def by_intent(cls, intent: Fields | None = None, **changes: str | None) -> Fields:
        """The plan the Apply Layer makes of an intent."""
        intent = intent or cls.intent()
        base: dict[str, str | None] = {
            "plan_id": f"exit-{intent['intent_id']}",
            "symbol": intent["symbol"],
            "qty": intent.get("quantity", "0"),
            "signature": "apply_layer",
            "intent": json.dumps(intent),
        }
        return cls.plan(**{**base, **changes})

    def allow(self, plan: Fields, **changes: object) -> None:
        """P3.3's permit, with its event."""
        document = {
            "allow": True,
            "symbol": plan["symbol"],
            "safe_qty": plan.get("qty", "0"),
            "reason": "ok",
            "created_at": time.time(),
            **changes,
        }
        self.redis.set(keys.permit(plan["plan_id"]), json.dumps(document), ex=60)
        self.redis.publish(keys.PERMIT_READY_CHANNEL, plan["plan_id"])

    def send(self, plan: Fields, *, manual: bool = False, permit: bool = True) -> str:
        """Into the stream, its permit already there. The plan's id."""
        if permit:
            self.allow(plan)
        self.redis.xadd(keys.APPLY_PLAN_MANUAL if manual else keys.APPLY_PLAN, plan)  # type: ignore[arg-type]
        return plan.get("plan_id", "")

    def send_together(self, plans: list[Fields]) -> list[str]:
        """In one batch, so that those of a symbol wait one behind the other; their ids."""
        for plan in plans:
            self.allow(plan)
        pipe: Any = self.redis.pipeline()
        for plan in plans:
            pipe.xadd(keys.APPLY_PLAN, plan)
        pipe.execute()
        return [plan["plan_id"] for plan in plans]

    # What came of them

    def results(self) -> list[Fields]:
        found: Any = self.redis.xrange(keys.APPLY_RESULT, min=self._results_from)
        return [fields for _, fields in found]

    def forget_results(self) -> None:
        """Later `results` begin after what is there now."""
        last: Any = self.redis.xrevrange(keys.APPLY_RESULT, count=1)
        if last:
            self._results_from = f"({last[0][0]}"

    def results_of(self, plan_id: str) -> list[Fields]:
        return [fields for fields in self.results() if fields["plan_id"] == plan_id]

    def result(self, plan_id: str, timeout_s: float = 10.0) -> Fields:
        """The one result of a plan, once it is there."""
        wait_for(lambda: self.results_of(plan_id), f"result of {plan_id}", timeout_s)
        found = self.results_of(plan_id)
        assert len(found) == 1
        return found[0]

    def outcome(self, plan: Fields, **how: bool) -> tuple[str, str]:
        """Sends a plan; the `decision` and `error` of its result."""
        result = self.result(self.send(plan, **how))
        return result["decision"], result["error"]

    def pending(self) -> int:
        """Entries delivered and not acknowledged, or not delivered yet, in both lanes."""
        count = 0
        for stream, group in (
            (keys.APPLY_PLAN, keys.GROUP_EXECUTOR),
            (keys.APPLY_PLAN_MANUAL, keys.GROUP_EXECUTOR_MANUAL),
        ):
            found: Any = self.redis.xinfo_groups(stream)
            (info,) = (row for row in found if row["name"] == group)
            unread = info["lag"]
            if unread is None:  # a Redis that came back from its disk may not know it
                unread = len(self.redis.xrange(stream, min=f"({info['last-delivered-id']}"))
            count += info["pending"] + unread
        return count

    def assert_settled(self, plan_ids: Iterable[str], timeout_s: float = 10.0) -> None:
        """Every plan has exactly one result, and nothing is left over anywhere."""
        wanted = sorted(plan_ids)
        wait_for(lambda: self.pending() == 0, "pending list empty", timeout_s)
        wait_for(lambda: not self.redis.hlen(keys.EXECUTOR_OPEN), "no open grant", timeout_s)
        wait_for(lambda: len(self.results()) >= len(wanted), "all results", timeout_s)
        assert sorted(fields["plan_id"] for fields in self.results()) == wanted

    def metric(self, name: str) -> int:
        value: Any = self.redis.hget(keys.EXECUTOR_METRICS, name)
        return int(value or 0)

    def ledger(self, symbol: str) -> dict[str, str]:
        found: Any = self.redis.hgetall(keys.ledger(symbol))
        return dict(found)

    def alerts(self, alert_type: str) -> list[Fields]:
        found: Any = self.redis.xrange(keys.ALERTS)
        return [fields for _, fields in found if fields["alert_type"] == alert_type]

    # What the exchange saw

    def orders(self, since: int = 0) -> list[OrderRecord]:
        return self.exchange.orders(since)

    def our_fills(self) -> list[FillRecord]:
        return [fill for fill in self.exchange.fills() if fill.actor == "api"]

    def assert_fills_explain(self, results: list[Fields]) -> None:
        """As many fills as executed results: order by order, to the last step of quantity."""
        filled: dict[str, Decimal] = {}
        for fill in self.our_fills():
            filled[fill.client_order_id] = filled.get(fill.client_order_id, Decimal(0)) + fill.qty
        reported = {
            fields["client_order_id"]: Decimal(fields["filled_qty"])
            for fields in results
            if Decimal(fields["filled_qty"])
        }
        assert {k: format_number(v) for k, v in filled.items()} == {
            k: format_number(v) for k, v in reported.items()
        }
