"""The Exit Brain's process: cycles on time, a heartbeat beside them; trouble never ends it."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import redis as redis_module

from quantum_exit.alerts.model import AlertType, Severity
from quantum_exit.alerts.publish import publish_alert
from quantum_exit.binance.errors import ExchangeError, ReadFailed
from quantum_exit.brain.cycle import Cycle, CycleReport
from quantum_exit.brain.engine import Mode
from quantum_exit.brain.news import Alert, gap_alert
from quantum_exit.brain.protection import Protection, uncovered, unwatched_s
from quantum_exit.brain.settings import BrainSettings
from quantum_exit.brain.state import BrainState
from quantum_exit.brain.store import Store, SupersededError
from quantum_exit.brain.think import SLACK_S
from quantum_exit.brain.world import Exchange, NotReadyError
from quantum_exit.bus.connection import RedisClient
from quantum_exit.bus.heartbeat import Heartbeat
from quantum_exit.systemd import Notifier
from quantum_exit.values import format_epoch

log = logging.getLogger("quantum_exit.brain")

SERVICE: Final = "exitbrain"
STANDING_BY: Final = "standing by: another Exit Brain works ({})"
BEAT_EVERY_S: Final = 0.5
GONE_AFTER_S: Final = 5.0
"""A brain that took over and has not beaten for this long, or not as one that is ready, is
taken over from."""
HANGS_AFTER_S: Final = 20.0
"""A cycle that takes longer than all its timeouts together hangs: the watchdog may bite.
Beside the pause between two cycles."""


@dataclass
class Board:
    """What the heartbeat says, written by the cycles and read by the thread that beats."""

    ready: bool = False
    status: str = "starting"
    cycle: int = 0
    finished_mono: float = 0.0
    extra: Mapping[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def show(self, *, ready: bool, status: str, extra: Mapping[str, str] | None = None) -> None:
        with self.lock:
            self.ready, self.status = ready, status
            if extra is not None:
                self.extra = extra

    def add(self, extra: Mapping[str, str]) -> None:
        with self.lock:
            self.extra = {**self.extra, **extra}

    def read(self) -> tuple[bool, str, int, Mapping[str, str]]:
        with self.lock:
            return self.ready, self.status, self.cycle, self.extra


class BrainService:
    def __init__(
        self,
        settings: BrainSettings,
        exchange: Exchange,
        redis: RedisClient,
        notifier: Notifier,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._redis = redis
        self._notifier = notifier
        self._wall = wall
        self._monotonic = monotonic
        name = f"{socket.gethostname()} pid {os.getpid()} {secrets.token_hex(4)}"
        self._store = Store(redis, settings.signer, name)
        self._cycle = Cycle(settings, self._store, exchange, wall, monotonic)
        self._state: BrainState | None = None
        self._board = Board()
        self._heartbeat = Heartbeat(redis, SERVICE, wall())
        self._stop = threading.Event()
        self._said_env_kill = False
        self._trouble = ""
        self._rejected = False
        self._superseded_by = ""
        self._saw_fit_epoch = 0.0

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        """Until `stop()`."""
        for line in self._settings.mode.start_lines():
            log.info("%s", line)
        self._board.finished_mono = self._monotonic()
        beating = threading.Thread(target=self._beat_forever, name="heartbeat", daemon=True)
        beating.start()
        self._notifier.ready()
        due = self._monotonic()
        while not self._stop.is_set():
            try:
                self.run_once()
            except Exception:  # telling of a cycle must not end the stops either
                log.exception("cycle %d could not be reported", self._board.cycle)
            due = max(due + self._settings.cycle_s, self._monotonic())
            self._stop.wait(due - self._monotonic())
        self._notifier.stopping()
        beating.join(timeout=2)

    def run_once(self) -> None:
        """One cycle. Whatever stands against it is said; the next cycle tries again."""
        self._board.cycle += 1
        began = self._monotonic()
        try:
            if self._state is None:
                self._stand_by_while_another_works()
                self._say_env_kill()
                self._state = self._cycle.load()
            report = self._cycle.run(self._state)
        except NotReadyError as error:
            self._not_ready(str(error))
        except ReadFailed as error:
            self._reject_credentials(error)
            self._not_ready(f"exchange: {error}")
        except SupersededError as error:
            self._state = None
            self._superseded_by = str(error)
            self._saw_fit_epoch = self._wall()
            self._not_ready(STANDING_BY.format(self._superseded_by))
        except (redis_module.RedisError, OSError) as error:
            # Whether the last step was taken is unknown: Redis tells, once it answers again.
            self._state = None
            self._not_ready(f"Redis: {error}")
        except Exception as error:  # a defect in one cycle must not end the stops
            self._state = None
            log.exception("Cycle %d failed", self._board.cycle)
            self._not_ready(f"internal error: {type(error).__name__}")
        else:
            self._state = report.state
            self._good(report, self._monotonic() - began)
        self._board.finished_mono = self._monotonic()

    def _stand_by_while_another_works(self) -> None:
        """It was started by mistake, or we were: one of the two decides, by its own state.
        While it cannot, by its own words, we do: it hears of that once it means to write."""
        if not self._superseded_by:
            return
        now_epoch = self._wall()
        age_s, is_ready = self._heartbeat.newest(now_epoch)
        if is_ready:
            self._saw_fit_epoch = now_epoch
        is_gone = age_s >= GONE_AFTER_S
        if not is_gone and 0 <= now_epoch - self._saw_fit_epoch < GONE_AFTER_S:
            raise NotReadyError(STANDING_BY.format(self._superseded_by))
        self._superseded_by = ""
        # What one that still runs has said to the executor is only ever made stricter.
        self._said_env_kill = not is_gone and not self._settings.mode.kill_switch_active

    def _say_env_kill(self) -> None:
        if not self._said_env_kill:
            self._store.say_env_kill(active=self._settings.mode.kill_switch_active)
            self._said_env_kill = True

    def _good(self, report: CycleReport, took_s: float) -> None:
        if self._trouble:
            log.info("ready again")
            self._trouble = ""
        self._rejected = False
        if report.mode_changed and self._board.cycle > 1:
            log.warning("%s (%s)", report.mode.log_line, report.mode.why or "nothing against it")
        for alert in report.alerts:
            log.warning("alert %s %s", alert.type, dict(alert.details))
        log.info(
            "Cycle %d: mode=%s positions=%d decisions=%d intents=%d shadow=%d took_ms=%.1f",
            *(self._board.cycle, report.mode.mode.value, len(report.state.tracks)),
            *(report.step.decisions, report.intents, report.shadowed, took_s * 1000),
        )
        for wish in report.commit.wishes:
            log.info("%s intent %s", wish.mode.value, dict(wish.fields))
        status = f"{report.mode.mode.value}, {len(report.state.tracks)} positions"
        if report.mode.why:
            status += f" ({report.mode.why})"
        if report.unreadable:
            status += f"; degraded: cannot be read, and held: {', '.join(report.unreadable)}"
        if report.params.trouble:
            status += f"; {report.params.trouble}"
        self._board.show(
            ready=True, status=status, extra=_figures(report, self._settings, self._wall())
        )

    def _not_ready(self, why: str) -> None:
        """No intents. Said once in the log for each reason, always in the heartbeat."""
        if why != self._trouble:
            log.error("not ready: %s", why)
            self._trouble = why
        log.info("Cycle %d: not ready", self._board.cycle)
        self._board.show(ready=False, status=f"not ready: {why}")
        if self._state is None:
            return
        protection, gaps = uncovered(self._state.protection, self._wall())
        self._board.add(_unprotected(protection, self._wall(), self._settings.cycle_s))
        published = [self._publish(gap_alert(gap)) for gap in gaps]
        if all(published):
            self._state = replace(self._state, protection=protection)

    def _publish(self, alert: Alert) -> bool:
        return publish_alert(self._redis, alert.type, alert.severity, alert.details, self._wall())

    def _reject_credentials(self, error: ReadFailed) -> None:
        if self._rejected or not isinstance(error, ExchangeError):
            return
        if error.credentials_rejected:
            details = {"service": SERVICE, "code": error.code, "message": error.msg}
            kind = AlertType.CREDENTIALS_REJECTED
            self._rejected = self._publish(Alert(kind, Severity.CRITICAL, details))

    def _beat_forever(self) -> None:
        while not self._stop.is_set():
            self.beat()
            self._stop.wait(BEAT_EVERY_S)

    def beat(self) -> None:
        ready, status, cycle, extra = self._board.read()
        behind_s = self._monotonic() - self._board.finished_mono
        if behind_s > HANGS_AFTER_S + self._settings.cycle_s:
            ready, status = False, f"not ready: cycle {cycle} has hung for {behind_s:.0f} s"
        else:
            self._notifier.watchdog()
        self._notifier.status(status)
        if self._superseded_by:
            return  # the heartbeat is that of the one who works
        fields = {"mode": Mode.SHADOW.value, **extra, "cycle": str(cycle)}
        try:
            self._heartbeat.beat(self._wall(), ready=ready, status=status, extra=fields)
        except (redis_module.RedisError, OSError):
            return


def _unprotected(protection: Protection, now_epoch: float, cycle_s: float) -> dict[str, str]:
    pauses_s = unwatched_s(protection, now_epoch, cycle_s + SLACK_S)
    return {
        "unprotected": ",".join(sorted(pauses_s)),
        "unprotected_now_s": f"{max(pauses_s.values(), default=0.0):.3f}",
        "unprotected_total_s": f"{protection.total_s + sum(pauses_s.values()):.3f}",
    }


def _figures(report: CycleReport, settings: BrainSettings, now_epoch: float) -> dict[str, str]:
    """The heartbeat's own fields: what `status` shows of the brain at one glance."""
    state = report.state
    live = [symbol for symbol in state.tracks if report.mode.of(symbol) is Mode.LIVE]
    resting = {symbol for symbol, entry in state.stops.items() if entry.resting}
    return {
        "mode": report.mode.mode.value,
        "mode_why": report.mode.why,
        "positions": str(len(state.tracks)),
        "cycle_epoch": format_epoch(now_epoch),
        "policy": report.params.trouble or "valid",
        "unpriced": ",".join(report.step.unpriced),
        "unreadable": ",".join(report.unreadable),
        **_unprotected(state.protection, now_epoch, settings.cycle_s),
        "exchange_stop": "on" if settings.exchange_stop else "off",
        "exchange_stops": str(len(resting)),
        "exchange_stops_missing": ",".join(sorted(set(live) - resting))
        if settings.exchange_stop
        else "",
    }
