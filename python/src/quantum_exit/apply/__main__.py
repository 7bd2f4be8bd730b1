"""`python -m quantum_exit.apply`: the Apply Layer."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Mapping

from quantum_exit.apply import config
from quantum_exit.apply.service import ApplyService
from quantum_exit.settings import run_service
from quantum_exit.systemd import Notifier


def main(environ: Mapping[str, str]) -> int:
    settings = config.from_environ(environ)
    logging.basicConfig(
        stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    ApplyService(settings, Notifier(environ)).run(stop.is_set)
    return 0


if __name__ == "__main__":
    run_service(main)
