"""The last steps of an approved plan: granted, signed once, sent once, settled.

What was granted may reach the exchange; a request is never sent a second time. A new attempt
is a new grant, and only after it is certain that the one before cannot execute.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from typing import Final

from quantum_exit.binance.client import Client
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
from quantum_exit.executor.approver import KILLED, Approver
from quantum_exit.executor.context import Context
from quantum_exit.executor.grant import (
    OpenGrant,
)
from quantum_exit.executor.lookup import find_any_attempt
from quantum_exit.executor.observer import Observer
from quantum_exit.executor.result import Result, of_refused
from quantum_exit.executor.store import Ending, Entry, Store
from quantum_exit.executor.work import Work
from quantum_exit.gates import permit as permit_gate
from quantum_exit.gates.model import (
    DRILL_NOT_SENT,
    Denial,
    Outcome,
    denied,
)
from quantum_exit.messages import OrderType
from quantum_exit.values import format_number

DRILLED: Final = Denial(Outcome.SKIP, DRILL_NOT_SENT)
"""It passed every gate, and a proof registered it so that it is not sent."""
_MOST_REFUSALS: Final = 4
_REFUSAL_PAUSE_S: Final = 0.2
_NOT_SENT_PAUSE_S: Final = 0.25
_NOT_READY_PAUSE_S: Final = 0.1
_EXITS_FIRST_PAUSE_S: Final = 0.02
_ATTEMPTS_MARGIN_S: Final = 60.0
_OUTSIDE_WINDOW: Final = frozenset({TIMESTAMP_OUTSIDE, -5028})  # -5028: the engine's own word


@dataclass(slots=True)
class Sender:
    """One order thread's hands: its own Redis connection and its own client."""

    context: Context
    store: Store
    observer: Observer
    client: Client
    approver: Approver = field(init=False)

    def __post_init__(self) -> None:
        self.approver = Approver(self.context, self.store, self.observer, self.client)

    def run(self) -> None:
        while (work := self.context.lanes.take()) is not None:
            self.process(work)

    def process(self, work: Work) -> None:
        """Ends the plan, or hands it to the timers; the symbol stays busy in between."""
        if self._waits_for_exchange(work):
            return
        waited, work.waited_for_exchange = work.waited_for_exchange, False
        if work.grant is None:
            self._first_attempt(work)
        else:
            self._further_attempt(work, work.grant)
        if waited and not work.waited_for_exchange:
            self.context.exits_that_waited.discard(work.claim.identity)

    def _waits_for_exchange(self, work: Work) -> bool:
        """No order while the exchange is not ready or has asked for silence; and once it is
        over no entry before the exits that it held up. What grows too old meanwhile expires."""
        pause = self.client.rate.paused(order=True)
        why = self.context.market.not_ready or ("rate limited" if pause else "")
        if why:
            delay_s = min(pause.remaining_s, 1.0) if pause else _NOT_READY_PAUSE_S
        elif not work.order.reduces and self.context.exits_that_waited:
            why, delay_s = "exits go first", _EXITS_FIRST_PAUSE_S
        else:
            return False
        age_s = time.time() - float(work.claim.plan.timestamp)
        if age_s <= self.context.settings.gates.plan_lifetime_s:
            self._again_when_ready(work, delay_s)
            return True
        self._end(work, Denial(Outcome.EXPIRED, f"plan_expired:not_ready:{why}"[:300]))
        self.context.exits_that_waited.discard(work.claim.identity)
        return True

    def _again_when_ready(self, work: Work, delay_s: float) -> None:
        if work.order.reduces:
            work.waited_for_exchange = True
            self.context.exits_that_waited.add(work.claim.identity)
        self._again(work, delay_s)

    def _first_attempt(self, work: Work) -> None:
        grant = self.approver.approve(work)
        if isinstance(grant, Denial):
            self._end(work, grant)
        elif not (work.look_first and self._found_from_before(work, grant)):
            self._grant_and_send(work, grant, replaces=None)

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
            refused = self.approver.refusal_of_entry(work)
            if refused is not None:
                self._end(work, refused)
                return
        timestamp_ms = self.context.clock.earliest_ms(time.monotonic())
        self._grant_and_send(work, before.next_attempt(timestamp_ms), replaces=before)

    def _grant_and_send(self, work: Work, grant: OpenGrant, *, replaces: OpenGrant | None) -> None:
        failpoints.hit("before_grant")
        # The signing time is fixed before the switch is read: an order signed after a kill
        # cannot exist, and one signed before it dies at its fence.
        if not grant.kill_exempt and self.approver.killed_outside_redis():
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
            self._again_when_ready(work, min(outcome.retry_after_s, 1.0))
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
        ending, fill = Ending(entry, grant.identity, result), result.fill
        ledger = (
            partial(endings.ledger_after, grant.side, fill, time.time())
            if fill is not None and fill.filled_qty
            else None
        )
        following = self.context.lanes.next_of(grant.symbol)
        if following is None:
            self.store.settle(ending, ledger)
        else:  # the look for the lane's next plan rides along, behind the result
            question = self.observer.question([following.claim])
            self.observer.take(question, self.store.settle(ending, ledger, question.commands))
            following.seen = self.observer.observed(following.claim)
        failpoints.hit("after_settle")
        self.context.finished(grant.identity, grant.symbol, seen_for=following)

    def _end(self, work: Work, denial: Denial) -> None:
        """A plan that ends without an order of its last grant, or without any grant."""
        if work.grant is not None:
            self.settle(work.grant, endings.of_denial(work.grant, denial))
            return
        claim = work.claim
        result = of_refused(denial, claim)
        self.context.note_denial(claim, denial)
        self.store.settle(Ending(work.entry, claim.identity, result))
        self.context.finished(claim.identity, claim.plan.symbol)

    def _again(self, work: Work, delay_s: float) -> None:
        self.context.timers.after(delay_s, lambda: self.context.lanes.resume(work))


def result_of_ack(grant: OpenGrant, ack: object) -> Result:
    if isinstance(ack, OrderAck):
        return endings.of_order(grant, ack)
    if isinstance(ack, AlgoAck):
        return endings.of_algo(grant, ack)
    if isinstance(ack, AlgoCancelAck):
        return endings.of_cancel(grant, ack)
    raise TypeError(f"not an acknowledgement: {ack!r} ({format_number(grant.qty)})")
