"""One life with one Redis: recovery first, then plans, until Redis fails or we are stopped.

Whatever goes wrong with Redis ends the session; the next one starts from what Redis and the
exchange say. So there is a single way to begin, and nothing is patched up in between.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from quantum_exit import keys
from quantum_exit.alerts.model import AlertType, Severity
from quantum_exit.binance.client import ClientFactory
from quantum_exit.bus.connection import RedisClient, connect
from quantum_exit.bus.line import Line
from quantum_exit.bus.trimming import trim
from quantum_exit.executor.context import Context
from quantum_exit.executor.intake import BLOCK_S, Intake
from quantum_exit.executor.market import Market
from quantum_exit.executor.observer import Observer
from quantum_exit.executor.recovery import resume_open_grants, trusted_since
from quantum_exit.executor.renewal import KEPT
from quantum_exit.executor.resolver import Resolver
from quantum_exit.executor.result import of_refused
from quantum_exit.executor.sender import Sender
from quantum_exit.executor.settings import ExecutorSettings
from quantum_exit.executor.settler import Settler
from quantum_exit.executor.store import Ending, Store
from quantum_exit.executor.tape import Tape
from quantum_exit.executor.waiting import WaitingRoom, listen
from quantum_exit.executor.work import Work
from quantum_exit.gates.model import Denial, Lane, Order

log = logging.getLogger(__name__)

_TIDY_EVERY_S = 30.0


class Session:
    """Raises redis.RedisError from the constructor when Redis does not answer."""

    def __init__(
        self, settings: ExecutorSettings, market: Market, clients: ClientFactory, tape: Tape
    ) -> None:
        self._settings = settings
        self._clients = clients
        self._connections: list[RedisClient] = []
        self._threads: list[threading.Thread] = []
        self._settling: threading.Thread | None = None
        self.failure: BaseException | None = None
        self.context = Context(settings, market, clients.clock, tape, self._connect())
        self._resolver = Resolver(self.context, self._make_sender)
        self.context.resolver = self._resolver
        redis = self._connect()
        self._store = Store(redis, Line(redis))
        self._store.load_scripts()
        self._settler = Settler(self._store, self.context.in_flight, self.stop)
        self._room = WaitingRoom(self._decided, settings.permit_wait_s)
        since = trusted_since(self._store.redis, time.time())
        self._intakes = [
            self._intake(Lane.MAIN, keys.APPLY_PLAN, keys.GROUP_EXECUTOR, since),
            self._intake(Lane.MANUAL, settings.manual_stream, keys.GROUP_EXECUTOR_MANUAL, since),
        ]

    @property
    def stop(self) -> threading.Event:
        return self.context.stop

    def start(self) -> None:
        """Recovery, then the threads. Raises redis.RedisError."""
        recovered = resume_open_grants(self.context, self._store)
        if recovered:
            log.warning("settling %d order(s) that were on their way", recovered)
        for number in range(self._settings.order_threads):
            self._spawn(f"order-{number}", self._make_sender().run)
        self._spawn("timers", self.context.timers.run)
        self._spawn("look-ups", self.context.look_ups.run)
        self._settling = self._spawn("settler", self._settler.run, last=True)
        subscribed = threading.Event()
        permits = self._connect()
        self._spawn("permits", partial(listen, self._room, permits, self.stop, subscribed))
        subscribed.wait(5)
        for intake in self._intakes:
            self._report_renewed(intake.stream, intake.renew_stream())
            intake.ensure_group()
            self._report_lost(intake.claim_pending())
        for number, intake in enumerate(self._intakes):
            self._spawn(f"intake-{number}", partial(self._read, intake))
        self._spawn("housekeeping", self._keep_house)

    def close(self) -> None:
        """Lets every thread finish the step it is in. What is not settled then is settled by
        the next session."""
        self.stop.set()
        self.context.lanes.close()
        self.context.timers.close()
        self.context.look_ups.close()
        patience_s = self._settings.http_timeout_s * 2 + BLOCK_S
        for thread in self._threads:
            thread.join(patience_s)
        self._settler.close()
        if self._settling is not None:
            self._settling.join(patience_s)
        for connection in self._connections:
            connection.close()

    def counts(self) -> dict[str, str]:
        return {"in_flight": str(len(self.context.in_flight)), "waiting": str(len(self._room))}

    def _connect(self, block_s: float = 0.0) -> RedisClient:
        connection = connect(self._settings.redis_url, block_s=block_s, name="intent_executor")
        self._connections.append(connection)
        return connection

    def _make_sender(self) -> Sender:
        redis = self._connect()
        line = Line(redis)
        observer = Observer(line, self.context.market, self.context.tape)
        return Sender(self.context, Store(redis, line), observer, self._clients.make())

    def _intake(self, lane: Lane, stream: str, group: str, since: float) -> Intake:
        redis = self._connect(BLOCK_S)
        return Intake(
            self.context,
            self._room,
            self._settler,
            redis,
            lane=lane,
            stream=stream,
            group=group,
            trusted_since=since,
        )

    def _read(self, intake: Intake) -> None:
        """An answer that got lost, or another reader of our group, took entries that nobody
        works on: now and then they are looked for."""
        idle_s = self._settings.reclaim_s
        due = time.monotonic() + idle_s
        while not self.stop.is_set():
            intake.read()
            if time.monotonic() >= due:
                self._report_lost(intake.claim_pending(idle_s))
                due = time.monotonic() + idle_s

    def _keep_house(self) -> None:
        redis = self._connect()
        while not self.stop.wait(_TIDY_EVERY_S):
            for intake in self._intakes:
                trim(redis, intake.stream)
            trim(redis, keys.APPLY_RESULT)

    def _decided(self, work: Work, verdict: Order | Denial) -> None:
        """The permit has come, or its time is over. Called on whichever thread saw it."""
        if isinstance(verdict, Order):
            self.context.lanes.submit(work)
            return
        claim = work.claim
        self.context.note_denial(claim, verdict)
        result = of_refused(verdict, claim)
        self._settler.put([Ending(work.entry, claim.identity, result)])

    def _report_lost(self, lost: list[bytes]) -> None:
        """Entries that were trimmed away unanswered: we cannot know what they were."""
        if not lost:
            return
        ids = [entry_id.decode() for entry_id in lost[:20]]
        log.error("%d plan entries were deleted before they were answered: %s", len(lost), ids)
        details = {"what": "plan entries deleted unanswered", "count": len(lost), "ids": ids}
        self.context.alert(AlertType.UNKNOWN_OUTCOME, Severity.CRITICAL, details)

    def _report_renewed(self, stream: str, carried: int | None) -> None:
        if carried is None:
            return
        why = f"{stream} took no entry any more: somebody gave one the last id there is"
        log.error("%s; it was begun anew with %d unanswered entries", why, carried)
        mend = f"see who wrote the last entry of {KEPT}; take that password back"
        details = {"service": "intent_executor", "why": why, "carried": carried, "mend": mend}
        self.context.alert(AlertType.LAYER_DOWN, Severity.CRITICAL, details)

    def _spawn(self, name: str, run: Callable[[], None], *, last: bool = False) -> threading.Thread:
        """`last`: it ends after all others."""
        thread = threading.Thread(target=self._guarded, args=(run,), name=name, daemon=True)
        if not last:
            self._threads.append(thread)
        thread.start()
        return thread

    def _guarded(self, run: Callable[[], None]) -> None:
        """No thread dies alone: without one of them the others would look alive."""
        try:
            run()
        except BaseException as error:  # noqa: BLE001 - it is not swallowed: it ends the session
            if self.failure is None:
                self.failure = error
            self.stop.set()
            self.context.lanes.close()
            self.context.timers.close()
            self.context.look_ups.close()
