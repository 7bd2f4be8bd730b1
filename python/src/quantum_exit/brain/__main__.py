"""`python -m quantum_exit.brain`: the Exit Brain."""

from __future__ import annotations

import logging
import logging.handlers
import signal
import sys
import time
from collections.abc import Mapping

from quantum_exit.binance.client import ClientFactory
from quantum_exit.binance.model import Credentials
from quantum_exit.brain.service import SERVICE, BrainService
from quantum_exit.brain.settings import BrainSettings, from_environ
from quantum_exit.bus.connection import connect
from quantum_exit.settings import ConfigError, run_service
from quantum_exit.systemd import Notifier


def main(environ: Mapping[str, str]) -> int:
    settings = from_environ(environ)
    _log_to(settings.log_file)
    service = BrainService(
        settings,
        _factory(settings).make(),
        connect(settings.redis_url, name=SERVICE),
        Notifier(environ),
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    service.run()
    return 0


def _factory(settings: BrainSettings) -> ClientFactory:
    exchange = settings.exchange
    try:
        credentials = Credentials(exchange.api_key, exchange.api_secret)
    except ValueError as error:
        raise ConfigError(f"BINANCE_API_KEY, BINANCE_API_SECRET: {error}") from None
    return ClientFactory(
        credentials,
        exchange.base_url,
        recv_window_ms=settings.recv_window_ms,
        timeout_s=settings.http_timeout_s,
    )


class LogFile(logging.handlers.WatchedFileHandler):
    """logrotate may move it away at any time. Where it cannot be written any more (a full
    disk, a directory that is gone), the standard output still says it: no log line ends a cycle.
    """

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)


def _log_to(path: str) -> None:
    """Standard output, and the file if there is one."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    if path:
        try:
            handlers.append(LogFile(path, encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"QUANTUM_LOG_FILE: {path}: {error.strerror}") from None
    formatter = logging.Formatter("%(asctime)sZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    for handler in handlers:
        handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)


if __name__ == "__main__":
    run_service(main)
