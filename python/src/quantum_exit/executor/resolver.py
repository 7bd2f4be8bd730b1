"""Orders whose outcome is unknown: looked up until it is known, never sent again blindly.

Absence is proven by the exchange not knowing the order, repeatedly, after the fence
(`timestamp + recvWindow`, on its own clock) beyond which it refuses the request, and by no
trade that could be the order's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from quantum_exit.alerts.model import AlertType, Severity
from quantum_exit.binance.errors import ReadFailed
from quantum_exit.binance.model import OrderAck
from quantum_exit.executor import endings
from quantum_exit.executor.context import Context
from quantum_exit.executor.grant import GrantState, OpenGrant
from quantum_exit.executor.lookup import has_unexplained_trade, look_up
from quantum_exit.executor.sender import Sender, result_of_ack
from quantum_exit.executor.work import Work
from quantum_exit.gates.model import Outcome

log = logging.getLogger(__name__)

_PROOFS_OF_ABSENCE: Final = 3
_FIRST_LOOK_S: Final = 0.02
_BETWEEN_LOOKS_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 2.0
_ALERT_AFTER_S: Final = 5.0


@dataclass(slots=True)
class _Case:
    """One order in doubt. `work` is None when its plan's entry is lost."""

    grant: OpenGrant
    work: Work | None
    since_mono: float
    absences: int = 0
    failures: int = 0
    alerted: bool = False


class Resolver:
    """All of it happens on the thread of look-ups, with a sender of its own."""

    def __init__(self, context: Context, make_sender: Callable[[], Sender]) -> None:
        self._context = context
        self._make_sender = make_sender
        self._own_sender: Sender | None = None

    def follow(self, work: Work | None, grant: OpenGrant) -> None:
        """From any thread. The symbol stays busy until the case is closed."""
        case = _Case(grant, work, time.monotonic())
        self._context.look_ups.after(_FIRST_LOOK_S, lambda: self._first_look(case))

    @property
    def _sender(self) -> Sender:
        if self._own_sender is None:
            self._own_sender = self._make_sender()
        return self._own_sender

    def _first_look(self, case: _Case) -> None:
        if case.grant.state is not GrantState.UNKNOWN:
            case.grant = replace(case.grant, state=GrantState.UNKNOWN)
            self._sender.store.mark(case.grant)
        self._look(case)

    def _look(self, case: _Case) -> None:
        self._alert_if_long(case)
        try:
            pause_s = self._examine(case)
        except ReadFailed as error:
            case.failures += 1
            log.warning("outcome of plan %s unknown: %s", case.grant.plan_id, error)
            pause_s = min(_BETWEEN_LOOKS_S * 2**case.failures, _LONGEST_PAUSE_S)
        if pause_s is not None:
            self._context.look_ups.after(pause_s, lambda: self._look(case))

    def _examine(self, case: _Case) -> float | None:
        """One look. The pause until the next, or None when the case is closed."""
        client, grant = self._sender.client, case.grant
        fence_passed = self._context.clock_has_passed(grant.fence_ms)
        found = look_up(client, grant)
        case.failures = 0
        if isinstance(found, OrderAck) and not found.final:
            case.absences = 0
            return _BETWEEN_LOOKS_S
        if found is not None:
            self._sender.settle(grant, result_of_ack(grant, found))
            return None
        # Only a look that began after the fence proves anything.
        case.absences = case.absences + 1 if fence_passed else 0
        if case.absences < _PROOFS_OF_ABSENCE or has_unexplained_trade(client, grant):
            return _BETWEEN_LOOKS_S
        self._absent(case)
        return None

    def _absent(self, case: _Case) -> None:
        log.warning(
            "order %s of plan %s never reached the exchange",
            case.grant.client_order_id,
            case.grant.plan_id,
        )
        if case.work is None:
            error = "binance_error:0:never executed, and its plan is lost"
            self._sender.settle(case.grant, endings.of_grant(case.grant, Outcome.ERROR, error))
            return
        case.work.grant = case.grant
        self._context.lanes.resume(case.work)

    def _alert_if_long(self, case: _Case) -> None:
        open_for_s = time.monotonic() - case.since_mono
        if case.alerted or open_for_s < _ALERT_AFTER_S:
            return
        case.alerted = True
        details = {
            "plan_id": case.grant.plan_id,
            "symbol": case.grant.symbol,
            "client_order_id": case.grant.client_order_id,
            "open_for_s": f"{open_for_s:.1f}",
        }
        self._context.alert(AlertType.UNKNOWN_OUTCOME, Severity.CRITICAL, details)
