"""The executor's main loop: leadership, sessions one after another, readiness for all to see."""

from __future__ import annotations

import gc
import logging
import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import Final

import redis

from quantum_exit.alerts.publish import AlertType, Severity, publish_alert
from quantum_exit.binance.client import ClientFactory
from quantum_exit.binance.clock import ClockUnknown
from quantum_exit.binance.model import Credentials
from quantum_exit.bus.connection import connect
from quantum_exit.bus.heartbeat import Heartbeat
from quantum_exit.executor.leader import Leadership
from quantum_exit.executor.market import Market, Refresher
from quantum_exit.executor.session import Session
from quantum_exit.executor.settings import ExecutorSettings, from_environ
from quantum_exit.executor.tape import Tape
from quantum_exit.settings import ConfigError
from quantum_exit.systemd import Notifier

log = logging.getLogger(__name__)

SERVICE: Final = "intent_executor"
_BEAT_S: Final = 0.5
_LOOK_S: Final = 0.05
"""How soon a change of readiness is seen and said."""
_RETRY_S: Final = 0.25
_SWITCH_S: Final = 0.001
"""An order's thread asks for the interpreter half a dozen times; beside a flood of denials it
would wait for up to 5 ms each time."""


class Executor:
    def __init__(self, settings: ExecutorSettings, notifier: Notifier) -> None:
        exchange = settings.exchange
        try:
            credentials = Credentials(exchange.api_key, exchange.api_secret)
        except ValueError as error:
            raise ConfigError(f"BINANCE_API_KEY: {error}") from None
        self._settings = settings
        self._notifier = notifier
        self._clients = ClientFactory(
            credentials,
            exchange.base_url,
            recv_window_ms=settings.recv_window_ms,
            timeout_s=settings.http_timeout_s,
        )
        self._market = Market()
        self._tape = Tape()
        self._stop = threading.Event()
        self._session: Session | None = None
        self._redis_problem = "not connected to Redis yet"
        self._leading = False
        self._said_rejected = False
        self._started_epoch = time.time()

    def request_stop(self, *_: object) -> None:
        self._stop.set()

    def run(self) -> int:
        self._notifier.ready()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
        try:
            self._leading = Leadership(self._settings.lock_file).acquire(self._stop)
        except OSError as error:
            raise ConfigError(
                f"the lock file {self._settings.lock_file} cannot be opened ({error.strerror}): "
                "set QUANTUM_LOCK_FILE to a path this user may write"
            ) from None
        if self._leading:
            log.info("leading")
            gc.freeze()  # what is loaded by now lives for ever: no need to look at it again
            self._lead()
        self._notifier.stopping()
        return 0

    def _lead(self) -> None:
        refresher = Refresher(self._market, self._clients.make(), self._stop)
        refresher.refresh()
        threading.Thread(target=refresher.run, name="market", daemon=True).start()
        while not self._stop.is_set():
            try:
                self._live_one_session()
            except redis.RedisError as error:
                self._report_redis(error)
                self._stop.wait(_RETRY_S)

    def _live_one_session(self) -> None:
        session = Session(self._settings, self._market, self._clients, self._tape)
        try:
            session.start()
            self._session, self._redis_problem = session, ""
            while not (self._stop.is_set() or session.stop.is_set()):
                self._stop.wait(_RETRY_S)
        finally:
            self._session = None
            session.close()
        failure = session.failure
        if isinstance(failure, redis.RedisError):
            raise failure
        if failure is not None:
            log.error("a session ended with an error; starting anew", exc_info=failure)
            self._stop.wait(_RETRY_S)

    def _report_redis(self, error: redis.RedisError) -> None:
        problem = f"Redis: {type(error).__name__}: {error}"[:200]
        if problem != self._redis_problem:
            log.warning("not ready: %s", problem)
        self._redis_problem = problem

    def why_not_ready(self) -> str:
        """Empty when orders may be sent."""
        if not self._leading:
            return "standing by: another executor leads"
        if self._settings.env_kill_active:
            return self._redis_problem or "kill switch active in the environment"
        return self._redis_problem or self._market.not_ready

    def _beat(self) -> None:
        client = connect(self._settings.redis_url, name=SERVICE)
        heartbeat = Heartbeat(client, SERVICE, self._started_epoch)
        said, due = "", 0.0
        while not self._stop.wait(_LOOK_S):
            self._say_rejected(client)
            why, now = self.why_not_ready(), time.monotonic()
            if why == said and now < due:
                continue
            said, due = why, now + _BEAT_S
            self._notifier.status(f"not ready: {why}" if why else "ready")
            self._notifier.watchdog()
            if not self._leading:
                continue  # the leader's heartbeat is the one that counts
            try:
                heartbeat.beat(
                    time.time(), ready=not why, status=why or "ready", extra=self._facts()
                )
            except redis.RedisError as error:
                if self._session is not None and not self._session.stop.is_set():
                    log.warning("heartbeat not written: %s", type(error).__name__)

    def _say_rejected(self, client: redis.Redis) -> None:
        """Once an episode, and from here: no order waits for an alert."""
        rejected = self._market.rejected
        if not rejected:
            self._said_rejected = False
        elif not self._said_rejected and self._leading:
            details = {"service": SERVICE, "answer": rejected, "effect": "orders are refused"}
            kind = AlertType.CREDENTIALS_REJECTED
            self._said_rejected = publish_alert(
                client, kind, Severity.CRITICAL, details, time.time()
            )

    def _facts(self) -> Mapping[str, str]:
        session = self._session
        facts = dict(session.counts()) if session is not None else {}
        facts["recv_window_ms"] = str(self._settings.recv_window_ms)
        facts["env_kill"] = "true" if self._settings.env_kill_active else "false"
        try:
            least, most = self._clients.clock.offset_ms(time.time() * 1000, time.monotonic())
            facts["clock_offset_ms"] = str(max(least, most, key=abs))
        except ClockUnknown:
            pass
        return facts


class _Lines(logging.Formatter):
    """`%(asctime)s %(levelname)s %(message)s`, at a third of the cost: the second of a time is
    put into words once."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._words: tuple[int, str] = (0, "")

    def format(self, record: logging.LogRecord) -> str:
        if record.exc_info or record.stack_info:
            return super().format(record)
        return f"{self.formatTime(record)} {record.levelname} {record.getMessage()}"

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002 - the library's name
        second = int(record.created)
        if self._words[0] != second:
            words = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
            self._words = (second, words)
        return f"{self._words[1]},{int(record.msecs):03}"


def _log_to_stdout() -> None:
    """What our lines do not show is not collected for each of them: a flood of denials costs
    a third less. These switches are the library's own, from its page on optimization."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Lines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def main(environ: Mapping[str, str]) -> int:
    sys.setswitchinterval(_SWITCH_S)
    _log_to_stdout()
    settings = from_environ(environ)
    executor = Executor(settings, Notifier(environ))
    signal.signal(signal.SIGTERM, executor.request_stop)
    signal.signal(signal.SIGINT, executor.request_stop)
    return executor.run()
