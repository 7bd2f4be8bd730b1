"""`python -m quantum_exit.courier`: takes alerts from the stream to people."""

from __future__ import annotations

import logging
import signal
import sqlite3
import sys
import threading
from collections.abc import Mapping

from redis.exceptions import RedisError

from quantum_exit.courier import config
from quantum_exit.courier.destinations import configured
from quantum_exit.courier.emergency import Emergency
from quantum_exit.courier.incoming import WithoutDisk
from quantum_exit.courier.masking import Mask
from quantum_exit.courier.service import Courier
from quantum_exit.settings import run_service
from quantum_exit.systemd import Notifier

log = logging.getLogger(__name__)

_NO_DISK_PAUSE_S = 2.0


def main(environ: Mapping[str, str]) -> int:
    settings = config.from_environ(environ)
    logging.basicConfig(
        stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    notifier = Notifier(environ)
    mask = Mask(settings.secrets)
    # Two sets of destinations: a connection belongs to one thread.
    emergency = Emergency(configured(settings, mask))
    from_memory: WithoutDisk | None = None
    while not stop.is_set():
        try:
            settings.state_directory.mkdir(mode=0o700, exist_ok=True)
            courier = Courier(settings, configured(settings, mask), emergency, mask, notifier)
        except (OSError, sqlite3.Error) as error:
            notifier.ready()
            notifier.watchdog()
            notifier.status(f"not ready: spool: {mask.text(str(error))}")
            log.error("spool: %s", mask.text(str(error)))
        else:
            if from_memory is not None:
                from_memory.close()
            courier.run(stop.is_set)
            break
        try:
            from_memory = from_memory or WithoutDisk(settings.redis_url, emergency)
            from_memory.look()
        except RedisError as error:
            log.error("redis: %s", mask.text(str(error)))
            if from_memory is not None:
                from_memory.close()
            from_memory = None
        stop.wait(_NO_DISK_PAUSE_S)
    return 0


if __name__ == "__main__":
    run_service(main)
