"""Writes down denials while the next plans are being read: Redis and its disk work meanwhile."""

from __future__ import annotations

import queue
import threading
from typing import Final

from quantum_exit.executor.store import Ending, Store
from quantum_exit.executor.work import InFlight

_WAIT_S: Final = 0.1
_BATCHES_AHEAD: Final = 2
"""More would only grow: whoever is faster waits."""


class Settler:
    """Endings of plans without an order. What is lost with the process is still pending."""

    def __init__(self, store: Store, in_flight: InFlight, stop: threading.Event) -> None:
        self._store = store
        self._in_flight = in_flight
        self._stop = stop
        self._batches: queue.Queue[list[Ending] | None] = queue.Queue(_BATCHES_AHEAD)

    def put(self, endings: list[Ending] | None) -> None:
        """From any thread; waits while the settler is behind. Dropped once a stop has come
        and nobody settles any more."""
        while True:
            try:
                self._batches.put(endings, timeout=_WAIT_S)
                return
            except queue.Full:
                if self._stop.is_set():
                    return

    def close(self) -> None:
        """After the last `put`: `run` ends when it has settled what it was given."""
        self.put(None)

    def run(self) -> None:
        """Raises redis.RedisError."""
        while (endings := self._batches.get()) is not None:
            self._store.deny(endings)
            self._in_flight.release(*[ending.identity for ending in endings])
