"""`python -m quantum_exit.courier`: takes alerts from the stream to people."""

from __future__ import annotations

import logging
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Mapping

from quantum_exit.courier import config
from quantum_exit.courier.destinations import configured
from quantum_exit.courier.emergency import Emergency
from quantum_exit.courier.masking import Mask
from quantum_exit.courier.service import Courier
from quantum_exit.settings import run_service
from quantum_exit.systemd import Notifier

_NO_DISK_PAUSE_S = 2.0


def main(environ: Mapping[str, str]) -> int:
    settings = config.from_environ(environ)
    logging.basicConfig(
        stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    # At these levels urllib3 writes whole URLs, tokens included, into the log.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    notifier = Notifier(environ)
    mask = Mask(settings.secrets)
    while not stop.is_set():
        try:
            settings.state_directory.mkdir(mode=0o700, exist_ok=True)
            # Two sets: a connection belongs to one thread.
            emergency = Emergency(configured(settings, mask))
            courier = Courier(settings, configured(settings, mask), emergency, mask, notifier)
        except (OSError, sqlite3.Error) as error:
            # Alerts wait in their stream, whole, until there is a disk again.
            notifier.ready()
            notifier.watchdog()
            notifier.status(f"not ready: spool: {mask.text(str(error))}")
            logging.getLogger(__name__).error("spool: %s", mask.text(str(error)))
            time.sleep(_NO_DISK_PAUSE_S)
        else:
            courier.run(stop.is_set)
            break
    return 0


if __name__ == "__main__":
    run_service(main)
