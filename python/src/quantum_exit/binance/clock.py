"""What time it is on the exchange, as bounds that hold however the network delays a reading.

The exchange read its clock somewhere between our sending the question and our having the
answer. So the truth lies between two lines, both measured with the monotonic clock; the
local wall clock takes no part.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

DRIFT_PPM = 200  # two cheap oscillators, one against the other
FRESH_FOR_S = 60.0


class ClockUnknown(Exception):
    """The exchange's clock has not been read yet."""


@dataclass(frozen=True, slots=True)
class ClockSample:
    """The exchange's clock read `server_ms` at a moment between `sent_mono` and `got_mono`."""

    server_ms: int
    sent_mono: float
    got_mono: float

    def __post_init__(self) -> None:
        if self.got_mono < self.sent_mono:
            raise ValueError("an answer cannot precede its question")

    # Only the elapsed part is ever a float: beside an epoch its last digits would be lost.

    def earliest_ms(self, now_mono: float, drift: float) -> int:
        elapsed_ms = max(0.0, now_mono - self.got_mono) * 1000
        return self.server_ms + math.floor(elapsed_ms * (1 - drift))

    def latest_ms(self, now_mono: float, drift: float) -> int:
        elapsed_ms = max(0.0, now_mono - self.sent_mono) * 1000
        # The exchange cuts its time off to whole milliseconds: up to one more has passed.
        return self.server_ms + 1 + math.ceil(elapsed_ms * (1 + drift))

    def width_ms(self, now_mono: float, drift: float) -> int:
        return self.latest_ms(now_mono, drift) - self.earliest_ms(now_mono, drift)


class ExchangeClock:
    """The tightest recent reading of the exchange's clock. Safe to share between threads."""

    def __init__(self, *, fresh_for_s: float = FRESH_FOR_S, drift_ppm: int = DRIFT_PPM) -> None:
        self._fresh_for_s = fresh_for_s
        self._drift = drift_ppm / 1e6
        self._best: ClockSample | None = None
        self._lock = threading.Lock()

    def add(self, sample: ClockSample) -> None:
        """Keep the sample if it is tighter than the kept one, or that one is old or refuted."""
        with self._lock:
            kept = self._best
            now = sample.got_mono
            if (
                kept is None
                or now - kept.got_mono > self._fresh_for_s
                or self._contradict(kept, sample)
                or sample.width_ms(now, self._drift) <= kept.width_ms(now, self._drift)
            ):
                self._best = sample

    def earliest_ms(self, now_mono: float) -> int:
        """Never ahead of the exchange's clock: fit to sign with, and to say a moment is past."""
        return self._sample().earliest_ms(now_mono, self._drift)

    def latest_ms(self, now_mono: float) -> int:
        """Never behind the exchange's clock."""
        return self._sample().latest_ms(now_mono, self._drift)

    def width_ms(self, now_mono: float) -> int:
        """How far apart the two bounds are."""
        return self._sample().width_ms(now_mono, self._drift)

    def age_s(self, now_mono: float) -> float:
        return max(0.0, now_mono - self._sample().got_mono)

    def fresh(self, now_mono: float) -> bool:
        """Whether there is a reading that is not too old."""
        sample = self._best
        return sample is not None and now_mono - sample.got_mono <= self._fresh_for_s

    def offset_ms(self, wall_ms: float, now_mono: float) -> tuple[int, int]:
        """(least, most) by which the exchange is ahead of a local wall clock reading."""
        return (
            self.earliest_ms(now_mono) - math.ceil(wall_ms),
            self.latest_ms(now_mono) - math.floor(wall_ms),
        )

    def _contradict(self, kept: ClockSample, new: ClockSample) -> bool:
        """The exchange's clock was set, or this machine slept: the old reading is worthless."""
        now = new.got_mono
        return new.latest_ms(now, self._drift) < kept.earliest_ms(
            now, self._drift
        ) or kept.latest_ms(now, self._drift) < new.earliest_ms(now, self._drift)

    def _sample(self) -> ClockSample:
        sample = self._best
        if sample is None:
            raise ClockUnknown("the exchange's clock has not been read yet")
        return sample
