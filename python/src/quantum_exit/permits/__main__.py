"""`python -m quantum_exit.permits`: P3.3, the position state brain."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Mapping

from quantum_exit.binance.client import ClientFactory
from quantum_exit.binance.model import Credentials
from quantum_exit.permits import config
from quantum_exit.permits.service import PermitsService
from quantum_exit.permits.watch import Watch
from quantum_exit.settings import ConfigError, run_service
from quantum_exit.systemd import Notifier


def main(environ: Mapping[str, str]) -> int:
    settings = config.from_environ(environ)
    logging.basicConfig(
        stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    exchange = settings.exchange
    try:
        credentials = Credentials(exchange.api_key, exchange.api_secret)
    except ValueError as error:
        raise ConfigError(f"BINANCE_API_KEY, BINANCE_API_SECRET: {error}") from None
    factory = ClientFactory(credentials, exchange.base_url, timeout_s=settings.http_timeout_s)
    watch = Watch(factory.make())
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    watch.start()
    PermitsService(settings, watch, Notifier(environ)).run(stop.is_set)
    return 0


if __name__ == "__main__":
    run_service(main)
