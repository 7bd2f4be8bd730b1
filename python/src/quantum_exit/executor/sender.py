"""The last steps of one plan: judged once more, granted, signed once, sent once, settled.

What was granted may reach the exchange; a request is never sent a second time. A new attempt
is a new grant, and only after it is certain that the one before cannot execute.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Final

from quantum_exit.binance.client import Client
from quantum_exit.binance.clock import ClockUnknown
from quantum_exit.binance.errors import (
    CREDENTIAL_CODES,
    REDUCE_ONLY_REJECTED,
    TIMESTAMP_OUTSIDE,
    Accepted,
    NotSent,
    RateLimited,
    ReadFailed,
    Refused,
    Unknown,
)
from quantum_exit.binance.model import AlgoAck, AlgoCancelAck, OrderAck
from quantum_exit.binance.orders import market_order, stop_market
from quantum_exit.binance.signing import SignedRequest
from quantum_exit.executor import endings, failpoints
from quantum_exit.executor.context import Context
from quantum_exit.executor.grant import (
    OpenGrant,
    cancelled_client_id,
    client_order_id,
    stop_client_id,
)
from quantum_exit.executor.lookup import find_any_attempt
from quantum_exit.executor.observer import Observer
from quantum_exit.executor.result import Result, of_denial
from quantum_exit.executor.store import Ending, Entry, Store
from quantum_exit.executor.work import Work
from quantum_exit.gates import permit as permit_gate
from quantum_exit.gates.chain import judge
from quantum_exit.gates.model import (
    DRILL_ACTION,
    DRILL_NOT_SENT,
    KILL_SWITCH_ACTIVE,
    Denial,
    Observed,
    ObservedPosition,
    Order,
    Outcome,
    denied,
)
from quantum_exit.gates.position import sendable, trigger_on_tick
from quantum_exit.kill_switch import read_file
from quantum_exit.messages import OrderType
from quantum_exit.policy.reader import ValidPolicy
from quantum_exit.values import format_number

KILLED: Final = Denial(Outcome.SHADOW, KILL_SWITCH_ACTIVE)
DRILLED: Final = Denial(Outcome.SKIP, DRILL_NOT_SENT)
"""It passed every gate, and a proof registered it so that it is not sent."""
_MOST_REFUSALS: Final = 4
_REFUSAL_PAUSE_S: Final = 0.2
_NOT_SENT_PAUSE_S: Final = 0.25
_NOT_READY_PAUSE_S: Final = 0.1
_ENTRY_DELAY_S: Final = 0.05
_SEEN_JUST_NOW_S: Final = 0.05
_ATTEMPTS_MARGIN_S: Final = 60.0
_OUTSIDE_WINDOW: Final = frozenset({TIMESTAMP_OUTSIDE, -5028})  # -5028: the engine's own word


@dataclass(slots=True)
class Sender:
    """One order thread's hands: its own Redis connection and its own client."""

    context: Context
    store: Store
    observer: Observer
    client: Client

    def run(self) -> None:
        while (work := self.context.lanes.take()) is not None:
            self.process(work)

    def process(self, work: Work) -> None:
        """Ends the plan, or hands it to the timers; the symbol stays busy in between."""
        if self._wait_until_ready(work):
            return
        if work.grant is None:
            self._first_attempt(work)
        else:
            self._further_attempt(work, work.grant)

    # Before the grant

    def _wait_until_ready(self, work: Work) -> bool:
        """No order while the exchange is not ready or has asked for silence. What grows too
        old in the meantime expires."""
        pause = self.client.rate.paused(order=True)
        why = self.context.market.not_ready or ("rate limited" if pause else "")
        if not why:
            return False
        age_s = time.time() - float(work.claim.plan.timestamp)
        if age_s > self.context.settings.gates.plan_lifetime_s:
            self._end(work, Denial(Outcome.EXPIRED, f"plan_expired:not_ready:{why}"[:300]))
            return True
        delay_s = min(pause.remaining_s, 1.0) if pause else _NOT_READY_PAUSE_S
        # Exits first when the silence ends.
        self._again(work, delay_s if work.order.reduces else delay_s + _ENTRY_DELAY_S)
        return True

    def _first_attempt(self, work: Work) -> None:
        seen = self._look(work)
        order = self._final_order(work, seen)
        if isinstance(order, Denial):
            self._end(work, order)
            return
        if not order.reduces:
            refused = self._set_leverage(work, seen)
            if refused is not None:
                self._end(work, refused)
                return
        grant = self._plan_grant(work, order, seen)
        if isinstance(grant, Denial):
            self._end(work, grant)
        elif work.look_first and self._found_from_before(work, grant):
            return
        else:
            self._grant_and_send(work, grant, replaces=None)

    def _look(self, work: Work) -> Observed:
        """The world anew, unless it was seen just now and nothing of ours has moved since."""
        just_now = time.monotonic() - work.seen_mono < _SEEN_JUST_NOW_S
        if work.seen and just_now and self.context.unchanged_since(work.symbol, work.seen_mono):
            return work.seen
        self.observer.look([work.claim])
        return self.observer.observed(work.claim)

    def _final_order(self, work: Work, seen: Observed) -> Order | Denial:
        """The gates once more: the world may have changed while the plan waited."""
        if work.grant is not None:  # its own first attempt is no repetition
            seen = replace(
                seen,
                repeats=max(0, seen.repeats - 1),
                orders_last_minute=max(0, seen.orders_last_minute - 1),
            )
        order = judge(work.claim, seen, self.context.settings.gates)
        if isinstance(order, Denial) or work.claim.plan.type is OrderType.CANCEL:
            return order
        order = permit_gate.permit(work.claim, order, work.permit, seen.now_epoch)
        if isinstance(order, Denial) or not order.reduces:
            return order
        qty = sendable(order.qty, seen)
        return qty if isinstance(qty, Denial) else replace(order, qty=qty)

    def _set_leverage(self, work: Work, seen: Observed) -> Denial | None:
        """The policy's leverage is set before a position is opened with another one."""
        policy, symbol = seen.policy, work.symbol
        if not isinstance(policy, ValidPolicy):
            return denied("policy_missing_or_stale")
        wanted = policy.view.leverage_by_symbol.get(symbol)
        if wanted is None or self.context.market.leverage(symbol) == wanted:
            return None
        if self._killed_outside_redis() or self.store.is_killed():
            return KILLED
        try:
            self.client.leverage(symbol, wanted)
        except ReadFailed as error:
            code = getattr(error, "code", None)
            return Denial(Outcome.ERROR, f"binance_error:{code}:leverage {wanted}: {error}"[:300])
        self.context.market.set_leverage(symbol, wanted)
        return None

    def _plan_grant(self, work: Work, order: Order, seen: Observed) -> OpenGrant | Denial:
        claim, plan = work.claim, work.claim.plan
        client_id = client_order_id(claim.identity, 1)
        if plan.type is not OrderType.MARKET:
            intent_id = claim.intent.intent_id if claim.intent else plan.plan_id
            named = (
                stop_client_id(intent_id)
                if plan.type is OrderType.STOP_MARKET
                else cancelled_client_id(intent_id)
            )
            if named is None:
                return Denial(Outcome.ERROR, "invalid_field:intent")
            client_id = named
        trigger = trigger_on_tick(plan, seen)
        if isinstance(trigger, Denial):
            return trigger
        try:
            timestamp_ms = self.context.clock.earliest_ms(time.monotonic())
        except ClockUnknown:
            return Denial(Outcome.EXPIRED, "plan_expired:not_ready:exchange clock unknown")
        return OpenGrant(
            identity=claim.identity,
            plan_id=plan.plan_id,
            source=plan.source,
            lane=claim.lane.value,
            stream=work.entry.stream,
            group=work.entry.group,
            entry_id=work.entry.entry_id,
            symbol=plan.symbol,
            side=plan.side,
            type=plan.type,
            qty=order.qty,
            reduces=order.reduces,
            trigger_price=trigger,
            plan_timestamp=plan.timestamp,
            client_order_id=client_id,
            attempt=1,
            timestamp_ms=timestamp_ms,
            recv_window_ms=self.context.settings.recv_window_ms,
            kill_exempt=(
                plan.type is OrderType.CANCEL
                and _is_flat(seen)
                and plan.wire.get("action") != DRILL_ACTION  # it is to meet every gate
            ),
        )

    def _found_from_before(self, work: Work, grant: OpenGrant) -> bool:
        """Redis may have lost that this plan was sent: the exchange's books know."""
        if not self.context.clock_has_passed(self.context.began_ms + grant.recv_window_ms):
            self._again(work, _NOT_READY_PAUSE_S)  # what was sent before could still arrive
            return True
        oldest_s = self.context.settings.gates.plan_lifetime_s + _ATTEMPTS_MARGIN_S
        try:
            found = find_any_attempt(self.client, grant, grant.timestamp_ms - int(oldest_s * 1000))
        except ReadFailed:
            self._again(work, _NOT_SENT_PAUSE_S)
            return True
        if found is None:
            return False
        if isinstance(found, OrderAck):
            grant = replace(grant, client_order_id=found.client_order_id)
        work.grant = grant
        self.conclude(work, grant, Accepted(found))
        return True

    # Grant and send

    def _further_attempt(self, work: Work, before: OpenGrant) -> None:
        """Only reached when the attempt before is certain not to execute."""
        age_s = time.time() - float(before.plan_timestamp)
        if age_s > self.context.settings.gates.plan_lifetime_s:
            self._end(work, Denial(Outcome.EXPIRED, f"plan_expired:age_s={age_s:.0f}"))
            return
        if not before.reduces:
            order = self._final_order(work, self._look(work))
            if isinstance(order, Denial):
                self._end(work, order)
                return
        timestamp_ms = self.context.clock.earliest_ms(time.monotonic())
        self._grant_and_send(work, before.next_attempt(timestamp_ms), replaces=before)

    def _grant_and_send(self, work: Work, grant: OpenGrant, *, replaces: OpenGrant | None) -> None:
        failpoints.hit("before_grant")
        # The signing time is fixed before the switch is read: an order signed after a kill
        # cannot exist, and one signed before it dies at its fence.
        if not grant.kill_exempt and self._killed_outside_redis():
            self._end(work, KILLED)
            return
        intent = work.claim.intent
        answer = self.store.grant(
            grant,
            replaces=replaces,
            intent_id="" if intent is None else f"{intent.source}:{intent.intent_id}",
        )
        if answer != "granted":
            self._not_granted(work, answer)
            return
        work.grant = grant
        failpoints.hit("after_grant")
        if replaces is None:
            self.context.tape.record(work.claim.plan, time.monotonic())
        outcome = self.client.send(self._sign(grant))
        failpoints.hit("after_send")
        self.conclude(work, grant, outcome)

    def _killed_outside_redis(self) -> bool:
        return self.context.env_killed or read_file(self.context.settings.kill_file).active

    def _not_granted(self, work: Work, answer: str) -> None:
        source = work.claim.plan.source
        if answer == "duplicate":
            self.store.acknowledge_duplicates([work.entry])
            self.context.finished(work.claim.identity, work.symbol)
        elif answer == "killed":
            self._end(work, KILLED)
        elif answer == "drill":
            self._end(work, DRILLED)
        elif answer == "intent_used":
            self._end(work, denied(f"SOURCE_UNVERIFIED:source={source}"))
        elif answer == "permit_gone":
            self._end(work, permit_gate.MISSING)
        else:
            raise RuntimeError(f"the grant answered {answer!r}")

    def _sign(self, grant: OpenGrant) -> SignedRequest:
        symbol, side = grant.symbol, grant.side.value
        if grant.type is OrderType.CANCEL:
            return self.client.sign_algo_cancel(grant.client_order_id, grant.timestamp_ms)
        if grant.type is OrderType.STOP_MARKET:
            params = stop_market(
                symbol, side, grant.qty, grant.trigger_price or Decimal(0), grant.client_order_id
            )
            return self.client.sign_algo_order(params, grant.timestamp_ms)
        params = market_order(
            symbol, side, grant.qty, grant.client_order_id, reduce_only=grant.reduces
        )
        return self.client.sign_order(params, grant.timestamp_ms)

    # After the send

    def conclude(self, work: Work, grant: OpenGrant, outcome: object) -> None:
        """Settles what is certain; what is not goes to the resolver."""
        if isinstance(outcome, Accepted):
            ack = outcome.ack
            if isinstance(ack, OrderAck) and not ack.final:
                self.context.resolver.follow(work, grant)
            else:
                self.settle(grant, result_of_ack(grant, ack))
        elif isinstance(outcome, Refused):
            self._refused(work, grant, outcome)
        elif isinstance(outcome, RateLimited):
            self._again(work, min(outcome.retry_after_s, 1.0))
        elif isinstance(outcome, NotSent):
            self._again(work, _NOT_SENT_PAUSE_S)
        elif isinstance(outcome, Unknown):
            self.context.resolver.follow(work, grant)
        else:
            raise TypeError(f"not an outcome: {outcome!r}")

    def _refused(self, work: Work, grant: OpenGrant, refused: Refused) -> None:
        if refused.retryable and work.refusals < _MOST_REFUSALS:
            work.refusals += 1
            self._again(work, _REFUSAL_PAUSE_S * 2 ** (work.refusals - 1))
        elif refused.code == REDUCE_ONLY_REJECTED and self._flat_on_exchange(grant.symbol):
            self.settle(grant, endings.of_denial(grant, denied("already_flat")))
        else:
            self.settle(grant, endings.of_refusal(grant, refused))
            if refused.code in _OUTSIDE_WINDOW:
                self._read_the_clock()
            if refused.code in CREDENTIAL_CODES:
                self.context.market.rejected = f"{refused.code}: {refused.msg}"

    def _read_the_clock(self) -> None:
        """It may have been set: the next order must not be refused for the same reason."""
        with suppress(ReadFailed):
            self.client.sync_clock()

    def _flat_on_exchange(self, symbol: str) -> bool:
        """-2022 means "already flat" only beside an observed zero."""
        try:
            return all(p.amount == 0 for p in self.client.positions() if p.symbol == symbol)
        except ReadFailed:
            return False

    def settle(self, grant: OpenGrant, result: Result) -> None:
        failpoints.hit("before_settle")
        entry = Entry(grant.stream, grant.group, grant.entry_id)
        fill = result.fill
        self.store.settle(
            Ending(entry, grant.identity, result),
            partial(endings.ledger_after, grant.side, fill, time.time())
            if fill is not None and fill.filled_qty
            else None,
        )
        failpoints.hit("after_settle")
        self.context.finished(grant.identity, grant.symbol)

    def _end(self, work: Work, denial: Denial) -> None:
        """A plan that ends without an order of its last grant, or without any grant."""
        if work.grant is not None:
            self.settle(work.grant, endings.of_denial(work.grant, denial))
            return
        claim = work.claim
        result = of_denial(denial, claim.plan.wire, claim.lane.value)
        self.context.note_denial(claim, denial)
        self.store.settle(Ending(work.entry, claim.identity, result))
        self.context.finished(claim.identity, claim.plan.symbol)

    def _again(self, work: Work, delay_s: float) -> None:
        self.context.timers.after(delay_s, lambda: self.context.lanes.resume(work))


def _is_flat(seen: Observed) -> bool:
    return isinstance(seen.position, ObservedPosition) and seen.position.amount == 0


def result_of_ack(grant: OpenGrant, ack: object) -> Result:
    if isinstance(ack, OrderAck):
        return endings.of_order(grant, ack)
    if isinstance(ack, AlgoAck):
        return endings.of_algo(grant, ack)
    if isinstance(ack, AlgoCancelAck):
        return endings.of_cancel(grant, ack)
    raise TypeError(f"not an acknowledgement: {ack!r} ({format_number(grant.qty)})")
