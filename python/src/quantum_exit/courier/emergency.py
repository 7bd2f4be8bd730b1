"""When there is no disk to spool on: each alert is cried out once, straight from memory.

It stays where it came from, unacknowledged, and takes the orderly way when the disk is back; so
it comes twice then, under one id. A full disk is the night on which that is the lesser evil.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Final

from quantum_exit.courier.delivery import Pace
from quantum_exit.courier.destinations import Destination
from quantum_exit.courier.http import NotDelivered
from quantum_exit.courier.spool import DEADMAN
from quantum_exit.courier.taken import Taken

log = logging.getLogger("quantum_exit.courier")

_REMEMBERED: Final = 10_000
_WAITING_MOST: Final = 1_000


class Emergency:
    """Each destination has a thread of its own: one that hangs must neither keep the alerts from
    the others, nor us from saying that we live."""

    def __init__(self, destinations: Iterable[Destination]) -> None:
        self._ways = [_Way(one) for one in destinations if one.name != DEADMAN]
        self._cried: dict[str, None] = {}

    def cry(self, alerts: Sequence[Taken]) -> None:
        """Those that were not cried out before. Neither raises nor waits; one try a destination."""
        for alert in alerts:
            if alert.alert_id not in self._cried and not alert.is_drill:
                self._cried[alert.alert_id] = None
                for way in self._ways:
                    way.put(alert)
        while len(self._cried) > _REMEMBERED:
            del self._cried[next(iter(self._cried))]


class _Way:
    """What waits for one destination, in memory. Its thread begins with the first of it."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._pace = Pace(destination.per_min)
        self._waiting: queue.Queue[Taken] = queue.Queue(_WAITING_MOST)
        self._thread: threading.Thread | None = None

    def put(self, alert: Taken) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait(alert)
        except queue.Full:
            log.error("%s: too many wait, and no disk to keep them on", self._destination.name)

    def _run(self) -> None:
        while True:
            alert = self._waiting.get()
            time.sleep(self._pace.wait_s(time.monotonic()))
            try:
                self._destination.send([alert])
                self._pace.sent(time.monotonic())
            except NotDelivered as error:
                log.error("%s: %s, and no disk to keep it on", self._destination.name, error)
            except Exception:  # a defect of one message must not silence all others
                log.exception("%s: internal error", self._destination.name)
