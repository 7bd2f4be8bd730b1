"""`python -m quantum_exit.metrics`: Prometheus finds the metrics on loopback."""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, disable_created_metrics, start_http_server

from quantum_exit.bus.connection import connect
from quantum_exit.metrics.exporter import Exporter, running_release
from quantum_exit.settings import ConfigError, redis_url, run_service
from quantum_exit.systemd import Notifier

_PORT: Final = 9464


def main(environ: Mapping[str, str]) -> int:
    text = environ.get("METRICS_PORT", "").strip() or str(_PORT)
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise ConfigError("METRICS_PORT must be a port, such as 9464")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    notifier = Notifier(environ)
    # A third more series, for nothing that anybody asks.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    exporter = Exporter(
        connect(redis_url(environ), decode=True, name="metrics"),
        registry,
        version=running_release(),
        kill_file=environ.get("QUANTUM_KILL_FILE", "").strip(),
    )
    server, thread = start_http_server(int(text), addr="127.0.0.1", registry=registry)
    notifier.ready()

    def still_here(status: str) -> None:
        notifier.watchdog()
        notifier.status(status)

    exporter.follow(stop, still_here)
    notifier.stopping()
    server.shutdown()
    thread.join(5)
    return 0


if __name__ == "__main__":
    run_service(main)
