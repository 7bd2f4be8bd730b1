"""The demonstration itself: open, fall, stop, and watch every step of the exit."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import ROUND_UP, Decimal
from pathlib import Path
from typing import Any, Final

import redis

from quantum_exit import keys
from quantum_exit.binance.client import Client
from quantum_exit.demo.paper import Paper
from quantum_exit.demo.timeline import Moment
from quantum_exit.demo.trace import Entry, PermitEar, Seen, Tracer, id_ms
from quantum_exit.proofs import observe
from quantum_exit.values import format_epoch, format_number

PRODUCER: Final = "intent_bridge"
NOTIONAL: Final = Decimal(200)
_OPEN_TIMEOUT_S: Final = 20.0
_GUARD_TIMEOUT_S: Final = 20.0
_AFTER_REPLAY_S: Final = 20.0
_POLL_S: Final = 0.01
_PROGRESS_EVERY_S: Final = 5.0


class Stuck(Exception):
    """The way of the plan ended before its end; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Wanted:
    symbol: str
    prices: Path | None
    speed: float
    seed: int
    depth_pct: Decimal


@dataclass(slots=True)
class Story:
    """`bus` speaks str; `client` only reads; `say` prints a line of progress."""

    bus: redis.Redis
    client: Client
    paper: Paper
    owner: str
    wanted: Wanted
    ear: PermitEar
    say: Callable[[str], None]
    moments: list[Moment] = field(default_factory=list)
    start_price: Decimal = Decimal(0)
    stop: Decimal | None = None
    crossed_ms: float | None = None

    def run(self) -> list[Moment]:
        """Raises Stuck, PaperError, ReadFailed or redis.RedisError."""
        symbol = self.wanted.symbol
        held = self.paper.amount(symbol)
        if held < 0:
            raise Stuck(f"{symbol} is held short: close it, or choose another --symbol")
        content = self.wanted.prices.read_bytes() if self.wanted.prices else None
        before = self.paper.price(symbol)
        tracer = Tracer(self.bus, symbol, self.owner)
        self._play(content, speed=0)  # a broken file is refused here, before anything is done
        self.start_price = self.paper.price(symbol)
        if held:
            self.say(f"{held} {symbol} is held already, maybe of an earlier run: it is taken")
        else:
            self._open()
        self._await_guard()
        self._play(content, speed=self.wanted.speed)
        try:
            self._follow(tracer)
        finally:
            self.paper.stop_replay(symbol)
            if not self.paper.amount(symbol) and content is None:
                self.paper.set_price(symbol, before)
        return self.moments

    def _play(self, content: bytes | None, speed: float) -> None:
        wanted = self.wanted
        if content is not None and wanted.prices is not None:
            self.paper.play_file(wanted.symbol, wanted.prices, content, speed)
        else:
            self.paper.play_fall(wanted.symbol, wanted.depth_pct, wanted.seed, speed)

    def _open(self) -> None:
        """By the plan of a producer through the executor, like any entry."""
        symbol = self.wanted.symbol
        rules = self.client.exchange_info()[symbol]
        least = max(NOTIONAL, rules.min_notional * 2) / self.start_price
        qty = (least / rules.market_step).quantize(Decimal(1), ROUND_UP) * rules.market_step
        plan = {
            "plan_id": f"demo-{uuid.uuid4()}",
            "decision": "EXECUTE",
            "reason": "demonstration",
            "symbol": symbol,
            "side": "BUY",
            "type": "MARKET",
            "qty": format_number(max(qty, rules.market_min_qty)),
            "reduceOnly": "false",
            "source": PRODUCER,
            "signature": PRODUCER,
            "timestamp": format_epoch(time.time()),
            "action": "OPEN",
        }
        self.say(f"opening {plan['qty']} {symbol} at {self.start_price} by a plan of {PRODUCER}")
        newest: Any = self.bus.xrevrange(keys.APPLY_RESULT, count=1)
        since = newest[0][0] if newest else "0-0"
        self.bus.xadd(keys.APPLY_PLAN, dict(plan.items()))
        result = self._result_of(plan["plan_id"], since)
        if result.get("executed") != "true":
            raise Stuck(
                f"the opening plan was not executed: {result.get('decision')} "
                f"{result.get('error')}; `exitctl status` shows what holds it back"
            )
        at_ms = float(result["timestamp"]) * 1000
        detail = f"{result.get('filled_qty')} {symbol} at {self.start_price}"
        self._note("position opened", at_ms, detail)

    def _result_of(self, plan_id: str, since: str) -> dict[str, str]:
        deadline = time.monotonic() + _OPEN_TIMEOUT_S
        while time.monotonic() < deadline:
            page: Any = self.bus.xrange(keys.APPLY_RESULT, min=f"({since}")
            for _, fields in page:
                if fields.get("plan_id") == plan_id:
                    return dict(fields)
            time.sleep(_POLL_S)
        raise Stuck(
            f"no result for the opening plan within {_OPEN_TIMEOUT_S:.0f} s: see `exitctl status` "
            "and journalctl -u quantum-intent-executor.service"
        )

    def _await_guard(self) -> None:
        """The fall must not begin before the brain holds its stop."""
        deadline = time.monotonic() + _GUARD_TIMEOUT_S
        while time.monotonic() < deadline:
            track = observe.read_tracks(self.bus).get(self.wanted.symbol)
            if track is not None:
                self.stop = track.rules.stop
                detail = f"stop at {format_number(self.stop)} ({track.rules.stop_rule})"
                self._note("brain guards it", time.time() * 1000, detail)
                self.say(f"the Exit Brain guards it, {detail}; the price falls now")
                return
            if not self.paper.amount(self.wanted.symbol):
                return  # the first price was enough
            time.sleep(_POLL_S)
        raise Stuck(
            f"the Exit Brain did not take up the position within {_GUARD_TIMEOUT_S:.0f} s: see "
            "journalctl -u quantum-exitbrain-v35.service"
        )

    def _follow(self, tracer: Tracer) -> None:
        """Until the position is closed, or the prices are over and nothing more happens."""
        over_since: float | None = None
        told = 0
        next_word = time.monotonic() + _PROGRESS_EVERY_S
        while True:
            seen = tracer.look()
            self._note_crossing()
            while told < len(seen.results):
                plan, result = seen.results[told]
                told += 1
                if self._ended(seen.intent_of(plan), plan, result):
                    return
            now = time.monotonic()
            replay = self.paper.replay(self.wanted.symbol)
            finished = replay is None or replay["state"] == "finished"
            over_since = (over_since or now) if finished else None
            if over_since and now - over_since > _AFTER_REPLAY_S:
                raise Stuck(self._where_stuck(seen))
            if now > next_word:
                next_word = now + _PROGRESS_EVERY_S
                played = (
                    f"minute {replay['minutes_played']} of {replay['minutes']}" if replay else ""
                )
                self.say(f"price {self.paper.price(self.wanted.symbol)}, {played}")
            time.sleep(_POLL_S)

    def _note_crossing(self) -> None:
        if self.crossed_ms is None and self.stop is not None:
            price = self.paper.price(self.wanted.symbol)
            if price <= self.stop:
                self.crossed_ms = self.paper.now_ms()
                detail = f"{price}, stop {self.stop}"
                self._note("price at the stop", self.crossed_ms, detail)

    def _ended(self, intent: Entry | None, plan: Entry, result: Entry) -> bool:
        """True when this result closed the position; its steps are told then."""
        said = result[1]
        if said.get("executed") != "true":
            self.say(
                f"not executed: {said.get('decision')} {said.get('error')}; the brain asks again"
            )
            return False
        if self.paper.amount(self.wanted.symbol):
            self.say(f"partly closed: {said.get('filled_qty')} {self.wanted.symbol}")
            return False
        self._tell(intent, plan, result)
        return True

    def _tell(self, intent: Entry | None, plan: Entry, result: Entry) -> None:
        if intent:
            detail = f"{intent[1].get('action')}: {intent[1].get('reason')}; by {self.owner}"
            self._note("signed intent", id_ms(intent[0]), detail)
        plan_id = plan[1].get("plan_id", "")
        detail = f"{plan[1].get('side')} {plan[1].get('qty')} reduceOnly, plan {plan_id}"
        self._note("plan", id_ms(plan[0]), detail)
        heard_ms = self.ear.heard_ms.get(plan_id)
        detail = "announced" if heard_ms else "(used; when it was announced was not heard)"
        self._note("permit of P3.3", heard_ms, detail)
        said = result[1]
        client_id = said.get("client_order_id", "")
        order = self.paper.order(client_id)
        if order:
            self._note("order at the exchange", order["arrived_ms"], f"client id {client_id}")
            detail = f"{said.get('filled_qty')}, order {said.get('order_id')}"
            self._note("filled", order["decided_ms"], detail)
        detail = f"{said.get('decision')}, {self.wanted.symbol} is flat"
        self._note("result", id_ms(result[0]), detail)

    def _note(self, what: str, at_ms: float | None, detail: str) -> None:
        self.moments.append(Moment(what, at_ms, detail))

    def _where_stuck(self, seen: Seen) -> str:
        """By the last step that was seen."""
        if seen.results:
            said = seen.results[-1][1][1]
            return (
                f"the exit was not executed: {said.get('decision')} {said.get('error')} "
                f"(plan {said.get('plan_id')}); see `exitctl status`"
            )
        if seen.plans:
            return (
                f"the plan {list(seen.plans)[-1]} has no result: see OPEN in `exitctl "
                "status` and journalctl -u quantum-intent-executor.service"
            )
        if seen.intents:
            return (
                f"the intent {list(seen.intents)[-1]} became no plan: see "
                "journalctl -u quantum-apply-layer.service"
            )
        if seen.shadow:
            return (
                "the Exit Brain wanted to exit but only in SHADOW: "
                f"{json.dumps(dict(seen.shadow[1]), ensure_ascii=False)[:300]}"
            )
        if self.crossed_ms is None:
            return (
                f"the price never reached the stop at {self.stop} (it began at "
                f"{self.start_price}): choose a deeper fall or another file"
            )
        return (
            "the price reached the stop and the Exit Brain asked for nothing: see "
            "journalctl -u quantum-exitbrain-v35.service"
        )
