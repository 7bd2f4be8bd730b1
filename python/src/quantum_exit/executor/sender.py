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
from quantum_exit.executor.grant import OpenGrant
from quantum_exit.executor.lookup import find_any_attempt
from quantum_exit.executor.observer import Observer
from quantum_exit.executor.relay import Relay
from quantum_exit.executor.result import Result, of_refused
from quantum_exit.executor.store import Ending, Entry, LedgerAfter, Store
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

Granted = tuple[Work, OpenGrant]
"""A plan and its grant, to be sent at once."""
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
    relay: Relay = field(init=False)

    def __post_init__(self) -> None:
        self.approver = Approver(self.context, self.store, self.observer, self.client)
        ahead = self.observer.another()
        self.relay = Relay(self.context.lanes, ahead, self.approver)

    def run(self) -> None:
        while (work := self.context.lanes.take()) is not None:
            self.process(work)

    def process(self, work: Work) -> None:
        """Ends the plan, or hands it to the timers; the symbol stays busy in between. And so
        with those of the symbol's next exits that are granted with the end of the one before."""
        self.relay.forget()
        if self._waits_for_exchange(work):
            return
        waited, work.waited_for_exchange = work.waited_for_exchange, False
        if work.grant is None:
            granted = self._first_attempt(work)
        else:
            granted = self._further_attempt(work, work.grant)
        if waited and not work.waited_for_exchange:
            self.context.exits_that_waited.discard(work.claim.identity)
        while granted is not None:
            granted = self._send(*granted)

    def _obstacle(self, work: Work) -> tuple[str, float]:
        """What must be over before any order of the plan, and when to look again; "" is none."""
        pause = self.client.rate.paused(order=True)
        why = self.context.market.not_ready or ("rate limited" if pause else "")
        if why:
            return why, min(pause.remaining_s, 1.0) if pause else _NOT_READY_PAUSE_S
        if not work.order.reduces and self.context.exits_that_waited:
            return "exits go first", _EXITS_FIRST_PAUSE_S
        return "", 0.0

    def _waits_for_exchange(self, work: Work) -> bool:
        """No order while the exchange is not ready or has asked for silence; and once it is
        over no entry before the exits that it held up. What grows too old meanwhile expires."""
        why, delay_s = self._obstacle(work)
        if not why:
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

    def _first_attempt(self, work: Work) -> Granted | None:
        grant = self.approver.approve(work)
        if isinstance(grant, Denial):
            self._end(work, grant)
            return None
        if work.look_first and self._found_from_before(work, grant):
            return None
        return self._grant_and_send(work, grant, replaces=None)

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

    def _further_attempt(self, work: Work, before: OpenGrant) -> Granted | None:
        """Only reached when the attempt before is certain not to execute."""
        age_s = time.time() - float(before.plan_timestamp)
        if age_s > self.context.settings.gates.plan_lifetime_s:
            self._end(work, Denial(Outcome.EXPIRED, f"plan_expired:age_s={age_s:.0f}"))
            return None
        refused = self.approver.refusal_by_now(work, before)
        if refused is not None:
            self._end(work, refused)
            return None
        timestamp_ms = self.context.clock.earliest_ms(time.monotonic())
        grant = before.next_attempt(timestamp_ms)
        if grant.kill_exempt and not self.approver.is_flat(work):
            grant = replace(grant, kill_exempt=False)
        return self._grant_and_send(work, grant, replaces=before)

    def _grant_and_send(
        self, work: Work, grant: OpenGrant, *, replaces: OpenGrant | None
    ) -> Granted | None:
        failpoints.hit("before_grant")
        # The signing time is fixed before the switch is read: an order signed after a kill
        # cannot exist, and one signed before it dies at its fence.
        if not grant.kill_exempt and self.approver.killed_outside_redis():
            self._end(work, KILLED)
            return None
        answer, seen = self.store.grant(
            grant,
            replaces=replaces,
            intent_id=_intent_of(work),
            then=self.relay.look_behind(grant.symbol),
        )
        if answer != "granted":
            self._not_granted(work, answer)
            return None
        self.relay.take(seen)
        if replaces is None:
            self.context.tape.record(work.claim.plan, time.monotonic())
        return self._send(work, grant)

    def _send(self, work: Work, grant: OpenGrant) -> Granted | None:
        """What was granted. Returns what was granted along with its end."""
        work.grant = grant
        failpoints.hit("after_grant")
        outcome = self.client.send(self._sign(grant))
        failpoints.hit("after_send")
        return self.conclude(work, grant, outcome)

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

    def conclude(self, work: Work, grant: OpenGrant, outcome: object) -> Granted | None:
        """Settles what is certain; what is not goes to the resolver. Returns what was granted
        along with the end."""
        if isinstance(outcome, Accepted):
            ack = outcome.ack
            if isinstance(ack, OrderAck) and not ack.final:
                self.context.resolver.follow(work, grant)
            else:
                return self._settle_and_go_on(grant, result_of_ack(grant, ack))
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
        return None

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
        self._settle(grant, _ending(grant, result), _ledger_after(grant, result))

    def _settle(self, grant: OpenGrant, ending: Ending, ledger: LedgerAfter | None) -> None:
        following = self.context.lanes.next_of(grant.symbol)
        if following is None:
            self.store.settle(ending, ledger)
        else:  # the look for the lane's next plan rides along, behind the result
            question = self.observer.question([following.claim])
            self.observer.take(question, self.store.settle(ending, ledger, question.commands))
            following.seen = self.observer.observed(following.claim)
        failpoints.hit("after_settle")
        self.context.finished(grant.identity, grant.symbol, seen_for=following)

    def _settle_and_go_on(self, grant: OpenGrant, result: Result) -> Granted | None:
        """The lane's next exit, where it was granted in the same write."""
        failpoints.hit("before_settle")
        symbol, ending, ledger = grant.symbol, _ending(grant, result), _ledger_after(grant, result)
        follower = self.relay.follower(symbol, self.store.ledger_behind(symbol, ledger))
        if follower is None or self._obstacle(follower[0])[0]:
            self._settle(grant, ending, ledger)
            return None
        work, next_grant = follower
        look = self.relay.look_behind(symbol, work)
        answer, seen = self.store.settle_and_grant(
            ending, ledger, next_grant, intent_id=_intent_of(work), then=look
        )
        if answer == "unsettled":
            self._settle(grant, ending, ledger)
            return None
        failpoints.hit("granted_along")
        if answer == "moved":
            self.context.finished(grant.identity, symbol)
            return None
        self.context.finished(grant.identity, symbol, follower=work)
        if answer != "granted":
            self._not_granted(work, answer)
            return None
        self.relay.take(seen)
        self.context.tape.record(work.claim.plan, time.monotonic())
        return work, next_grant

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


def _intent_of(work: Work) -> str:
    """The signed intent that the plan lives on; "" without one."""
    intent = work.claim.intent
    return "" if intent is None else f"{intent.source}:{intent.intent_id}"


def _ending(grant: OpenGrant, result: Result) -> Ending:
    return Ending(Entry(grant.stream, grant.group, grant.entry_id), grant.identity, result)


def _ledger_after(grant: OpenGrant, result: Result) -> LedgerAfter | None:
    """None for an end without a fill."""
    fill = result.fill
    if fill is None or not fill.filled_qty:
        return None
    return partial(endings.ledger_after, grant.side, fill, time.time())


def result_of_ack(grant: OpenGrant, ack: object) -> Result:
    if isinstance(ack, OrderAck):
        return endings.of_order(grant, ack)
    if isinstance(ack, AlgoAck):
        return endings.of_algo(grant, ack)
    if isinstance(ack, AlgoCancelAck):
        return endings.of_cancel(grant, ack)
    raise TypeError(f"not an acknowledgement: {ack!r} ({format_number(grant.qty)})")
