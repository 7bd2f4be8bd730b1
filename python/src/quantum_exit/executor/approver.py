"""What comes before the grant: the world looked at anew, and all gates once more.

What a plan waited for, it waited for in a world that may have changed since.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import Final

from quantum_exit.binance.client import Client
from quantum_exit.binance.clock import ClockUnknown
from quantum_exit.binance.errors import ReadFailed
from quantum_exit.binance.model import AlgoAck
from quantum_exit.executor.context import Context
from quantum_exit.executor.grant import (
    OpenGrant,
    cancelled_client_id,
    client_order_id,
    stop_client_id,
)
from quantum_exit.executor.observer import Observer
from quantum_exit.executor.store import Store
from quantum_exit.executor.work import Work
from quantum_exit.gates import permit as permit_gate
from quantum_exit.gates.chain import judge, right
from quantum_exit.gates.model import (
    DRILL_ACTION,
    KILL_SWITCH_ACTIVE,
    Denial,
    Lane,
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

log = logging.getLogger(__name__)

KILLED: Final = Denial(Outcome.SHADOW, KILL_SWITCH_ACTIVE)
SEEN_JUST_NOW_S: Final = 0.05


@dataclass(slots=True)
class Approver:
    """Belongs to one order thread, as what it is made of does."""

    context: Context
    store: Store
    observer: Observer
    client: Client

    def approve(self, work: Work) -> OpenGrant | Denial:
        """The grant to ask for, of the plan's first attempt."""
        if work.claim.plan.type is OrderType.CANCEL:
            refused = self._stop_of_another(work)
            if refused is not None:
                return refused
        seen = self._look(work)
        order = self._final_order(work, seen)
        if isinstance(order, Denial):
            return order
        if not order.reduces:
            refused = self._set_leverage(work, seen)
            if refused is not None:
                return refused
        return self._plan_grant(work, order, seen)

    def approve_on(self, work: Work, seen: Observed) -> OpenGrant | None:
        """The same in a world that was seen already, for an exit. None: what stands against it
        is to be found in a look of its own, or the exchange is to be asked before."""
        if work.claim.plan.type is OrderType.CANCEL:
            return None
        order = self._final_order(work, seen)
        if isinstance(order, Denial) or not order.reduces:
            return None
        grant = self._plan_grant(work, order, seen)
        if isinstance(grant, Denial) or not (grant.kill_exempt or not self.killed_outside_redis()):
            return None
        return grant

    def refusal_by_now(self, work: Work, before: OpenGrant) -> Denial | None:
        """What stands against another attempt than `before`: to open a position all that may
        stand against a first one; to exit only that a right given for a time is over. The
        owner's exit needs nobody's leave."""
        claim = work.claim
        if not before.reduces:
            order = self._final_order(work, self._look(work))
            return order if isinstance(order, Denial) else None
        if work.order.by_owner and claim.lane is Lane.MAIN:
            return None
        return right(claim, self._look(work), self.context.settings.gates)

    def is_flat(self, work: Work) -> bool:
        """By now."""
        return _is_flat(self._look(work))

    def killed_outside_redis(self) -> bool:
        return self.context.env_killed or read_file(self.context.settings.kill_file).active

    def _stop_of_another(self, work: Work) -> Denial | None:
        """A cancellation names a stop, and its plan any symbol: a flat one, say, in place of the
        held one that the kill switch keeps the stop of. The exchange knows which it is."""
        claim = work.claim
        named = cancelled_client_id(claim.intent.intent_id if claim.intent else claim.plan.plan_id)
        if named is None:
            return Denial(Outcome.ERROR, "invalid_field:intent")
        try:
            stop = self.client.query_algo(named)
        except ReadFailed as error:
            code = getattr(error, "code", None)
            return Denial(Outcome.ERROR, f"binance_error:{code}:stop {named}: {error}"[:300])
        if isinstance(stop, AlgoAck) and stop.symbol != claim.plan.symbol:
            return Denial(Outcome.ERROR, "invalid_field:symbol")
        return None

    def _look(self, work: Work) -> Observed:
        """The world anew, unless it was seen just now and nothing of ours has moved since."""
        just_now = time.monotonic() - work.seen_mono < SEEN_JUST_NOW_S
        if work.seen and just_now and self.context.unchanged_since(work.symbol, work.seen_mono):
            return work.seen
        self.observer.look([work.claim])
        return self.observer.observed(work.claim)

    def _final_order(self, work: Work, seen: Observed) -> Order | Denial:
        """The gates once more: the world may have changed while the plan waited. One that fails
        denies the plan: the order before it and other symbols do not pay for it."""
        try:
            return self._judge(work, seen)
        except Exception as error:
            log.exception("a gate failed on plan %s", work.claim.plan.plan_id)
            return Denial(Outcome.ERROR, f"internal_error:{type(error).__name__}")

    def _judge(self, work: Work, seen: Observed) -> Order | Denial:
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
        if self.killed_outside_redis() or self.store.is_killed():
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


def _is_flat(seen: Observed) -> bool:
    """Also by our own fills, where they are younger."""
    position = seen.position
    return isinstance(position, ObservedPosition) and not (position.amount or position.own_amount)
