"""What is known of the exchange's rate limits; one object for all clients of a process."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

WEIGHT_PER_MIN: Final = 2_400
"""What the main network allows an address a minute; where it is more, this is merely careful."""
_WEIGHT_LASTS_S = 60.0
_COUNT = re.compile(r"\d{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing may be sent for `remaining_s`. `http_status` is what imposed it: 429 or 418."""

    remaining_s: float
    http_status: int

    @property
    def banned(self) -> bool:
        return self.http_status == 418


class RateState:
    """Used weight and order counts as last reported, and how long to stay silent."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._weight = 0
        self._weight_at = -_WEIGHT_LASTS_S
        self._until = {False: 0.0, True: 0.0}  # key: concerns orders only
        self._status = {False: 429, True: 429}

    def note_headers(self, headers: Mapping[str, str]) -> None:
        """Read the used weight. `headers` must be case-insensitive, as those of a reply are.

        Answers to orders report 0 or "-1": that says nothing about the weight.
        """
        value = headers.get("X-MBX-USED-WEIGHT-1M", "")
        if _COUNT.fullmatch(value) and int(value) > 0:
            with self._lock:
                self._weight = int(value)
                self._weight_at = self._monotonic()

    @property
    def used_weight(self) -> int:
        """Request weight used in this minute by this address; 0 when nothing recent is known."""
        with self._lock:
            recent = self._monotonic() - self._weight_at < _WEIGHT_LASTS_S
            return self._weight if recent else 0

    @property
    def share_used(self) -> float:
        """Of the weight allowed in this minute, 0 to 1 and above. All services of a host share
        it: who can wait does so while it is nearly used up, and leaves the rest to exits."""
        return self.used_weight / WEIGHT_PER_MIN

    def pause(self, for_s: float, http_status: int, *, orders_only: bool = False) -> None:
        """Be silent for `for_s`; a pause is never shortened by a later one."""
        until = self._monotonic() + for_s
        with self._lock:
            if until > self._until[orders_only]:
                self._until[orders_only] = until
                self._status[orders_only] = http_status

    def paused(self, *, order: bool) -> Pause | None:
        """The pause that holds now for an order or for any other request, if there is one."""
        with self._lock:
            kinds = (False, True) if order else (False,)
            kind = max(kinds, key=lambda k: self._until[k])
            remaining_s = self._until[kind] - self._monotonic()
            return Pause(remaining_s, self._status[kind]) if remaining_s > 0 else None
