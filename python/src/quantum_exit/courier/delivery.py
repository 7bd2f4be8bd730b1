"""One destination's thread: the oldest alert first, again and again until it is taken."""

from __future__ import annotations

import collections
import logging
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from quantum_exit.courier.destinations import Destination
from quantum_exit.courier.http import NotDelivered
from quantum_exit.courier.spool import Spool, Waiting

log = logging.getLogger("quantum_exit.courier")

DIGEST_ABOVE: Final = 10
"""When more than these wait for a chat or a mailbox, they come as lists."""
DIGEST_MOST: Final = 15
_IDLE_S: Final = 1.0
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0
_TRIES_AS_IT_IS: Final = 2
_MINUTE_S: Final = 60.0


@dataclass(slots=True)
class Pace:
    """At most `per_min` messages in any minute."""

    per_min: int
    _sent: collections.deque[float] = field(default_factory=collections.deque)

    def wait_s(self, now_mono: float) -> float:
        while self._sent and self._sent[0] <= now_mono - _MINUTE_S:
            self._sent.popleft()
        if len(self._sent) < self.per_min:
            return 0.0
        return self._sent[0] + _MINUTE_S - now_mono

    def sent(self, now_mono: float) -> None:
        self._sent.append(now_mono)


class Delivery:
    """`run` is the thread's body; it ends when `stop` is set, in the middle of no message."""

    def __init__(
        self,
        destination: Destination,
        spool_path: Path,
        stop: threading.Event,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._destination = destination
        self._spool_path = spool_path
        self._stop = stop
        self._monotonic = monotonic
        self._pace = Pace(destination.per_min)
        self._failures = 0
        self._refusals = 0
        self._news = threading.Event()

    def wake(self) -> None:
        self._news.set()

    def run(self) -> None:
        spool = None
        while not self._stop.is_set():
            try:
                spool = spool or Spool(self._spool_path)
                self._step(spool)
            except sqlite3.Error as error:
                log.error("%s: the spool: %s", self._destination.name, error)
                self._stop.wait(_FIRST_PAUSE_S)
            except Exception:
                log.exception("%s: internal error", self._destination.name)
                self._stop.wait(_LONGEST_PAUSE_S)

    def _step(self, spool: Spool) -> None:
        name = self._destination.name
        batch = spool.next_for(name, self._how_many(spool))
        if not batch:
            self._news.wait(_IDLE_S)
            self._news.clear()
            return
        if self._stop.wait(self._pace.wait_s(self._monotonic())):
            return
        try:
            self._send(batch)
        except NotDelivered as error:
            self._failures += 1
            self._refusals += error.refused
            try:
                self._tell(spool, error, batch)
            finally:  # also where a full disk takes no note of it
                self._stop.wait(max(self._pause_s(), error.retry_after_s))
            return
        if self._failures:
            log.info("%s: alerts arrive again", name)
        self._failures = self._refusals = 0
        self._note(spool, [one.seq for one in batch])

    def _how_many(self, spool: Spool) -> int:
        if not self._destination.digests:
            return 1
        many = spool.count_for(self._destination.name) > DIGEST_ABOVE
        # While messages are refused, one at a time: the harmless one, then the others as they are.
        return DIGEST_MOST if many and not self._refusals else 1

    def _send(self, batch: Sequence[Waiting]) -> None:
        harmless = self._refusals >= _TRIES_AS_IT_IS
        try:
            self._destination.send([one.alert for one in batch], harmless=harmless)
        except NotDelivered:
            raise
        except Exception as error:  # a defect of one message must not silence all others
            log.exception("%s: internal error", self._destination.name)
            why = f"internal error: {type(error).__name__}"
            raise NotDelivered(why, refused=True) from None
        self._pace.sent(self._monotonic())

    def _note(self, spool: Spool, seqs: Sequence[int]) -> None:
        """It has arrived: it must not be sent again because the disk is full."""
        while True:
            try:
                spool.delivered(self._destination.name, seqs, time.time())
            except sqlite3.Error as error:
                log.error("%s: delivered, but not noted: %s", self._destination.name, error)
                if self._stop.wait(_FIRST_PAUSE_S):
                    return
            else:
                return

    def _tell(self, spool: Spool, error: NotDelivered, batch: Sequence[Waiting]) -> None:
        name = self._destination.name
        if self._failures == 1:
            log.error("%s: %s; alerts wait on disk (%s)", name, error, batch[0].alert.alert_id)
        spool.trouble(name, f"{error.reason} ({self._failures} tries)")

    def _pause_s(self) -> float:
        longest = min(_FIRST_PAUSE_S * 2.0 ** min(self._failures - 1, 10), _LONGEST_PAUSE_S)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret, only out of step
