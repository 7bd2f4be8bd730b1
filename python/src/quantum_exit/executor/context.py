"""What all threads of one session share. Each part is thread-safe on its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from quantum_exit import keys
from quantum_exit.alerts.model import AlertType, Severity
from quantum_exit.alerts.publish import publish_alert
from quantum_exit.binance.clock import ClockUnknown, ExchangeClock
from quantum_exit.bus.connection import RedisClient
from quantum_exit.executor.grant import OpenGrant
from quantum_exit.executor.lanes import Lanes
from quantum_exit.executor.market import Market
from quantum_exit.executor.settings import ExecutorSettings
from quantum_exit.executor.tape import Tape
from quantum_exit.executor.timers import Timers
from quantum_exit.executor.work import InFlight, Work
from quantum_exit.gates.limits import MAX_REPEATS
from quantum_exit.gates.model import Claim, Denial

log = logging.getLogger(__name__)


class Follower(Protocol):
    """Takes over an order whose outcome is not known yet."""

    def follow(self, work: Work | None, grant: OpenGrant) -> None: ...


@dataclass(slots=True)
class Context:
    settings: ExecutorSettings
    market: Market
    clock: ExchangeClock
    tape: Tape
    alerts_redis: RedisClient
    resolver: Follower = field(init=False)
    lanes: Lanes = field(default_factory=Lanes)
    timers: Timers = field(default_factory=Timers)
    look_ups: Timers = field(default_factory=Timers)
    """Of orders in doubt, on a thread of their own: one that hangs delays no other plan."""
    in_flight: InFlight = field(default_factory=InFlight)
    began_mono: float = field(default_factory=time.monotonic)
    stop: threading.Event = field(default_factory=threading.Event)
    exits_that_waited: set[str] = field(default_factory=set)
    """Identities of exits that the exchange's silence held up and that have no answer since:
    no entry goes before them."""
    _moved_at: dict[str, float] = field(default_factory=dict)
    """Symbol -> when the last plan of its lane ended, monotonic."""

    @property
    def env_killed(self) -> bool:
        return self.settings.env_kill_active

    @property
    def began_ms(self) -> int:
        """When this session began, on the exchange's clock, not too early. Raises ClockUnknown."""
        return self.clock.latest_ms(self.began_mono)

    def clock_has_passed(self, moment_ms: int) -> bool:
        """Certainly so, on the exchange's clock. An unread clock has passed nothing."""
        try:
            return self.clock.earliest_ms(time.monotonic()) > moment_ms
        except ClockUnknown:
            return False

    def unchanged_since(self, symbol: str, moment_mono: float) -> bool:
        """Whether no order of ours can have moved the symbol after that moment."""
        return self._moved_at.get(symbol, self.began_mono) < moment_mono

    def finished(
        self,
        identity: str,
        symbol: str,
        *,
        seen_for: Work | None = None,
        follower: Work | None = None,
    ) -> None:
        """A plan that held its symbol's lane has its result. `seen_for`: the lane's next plan,
        if its world was seen already, behind that result. `follower`: the lane's next plan, if
        it has the lane already."""
        self._moved_at[symbol] = time.monotonic()
        if seen_for is not None:
            seen_for.seen_mono = time.monotonic()
        self.in_flight.release(identity)
        if follower is None:
            self.lanes.release(symbol)
        else:
            self.lanes.go_on(follower)

    def alert(
        self, alert_type: AlertType, severity: Severity, details: Mapping[str, object]
    ) -> None:
        publish_alert(self.alerts_redis, alert_type, severity, details, time.time())

    def note_denial(self, claim: Claim, denial: Denial) -> None:
        """The line operators grep for, or a plain one. A source that repeats itself is
        stopped here until a person re-arms it (`exitctl rearm`); the exit owner never is."""
        plan = claim.plan
        if denial.error == MAX_REPEATS and plan.source != self.settings.gates.owner:
            self.alerts_redis.set(keys.executor_stopped_source(plan.source), plan.plan_id)
        if denial.error.startswith("NOT_EXIT_OWNER"):
            log.warning(
                "🚫 DENY_NOT_EXIT_OWNER: %s attempted reduceOnly order on %s (only %s authorized)",
                plan.source,
                plan.symbol,
                self.settings.gates.owner,
            )
        else:
            log.info(
                "%s plan %s of %s on %s: %s%s",
                denial.outcome.value,
                plan.plan_id,
                plan.source,
                plan.symbol,
                denial.error,
                f" ({claim.intent_problem})" if claim.intent_problem else "",
            )
