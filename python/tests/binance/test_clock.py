"""The bounds hold for every delay on the way, and for clocks that run apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum_exit.binance.clock import ClockSample, ClockUnknown, ExchangeClock

BASE_MS = 1_700_000_000_000


@dataclass(frozen=True)
class Exchange:
    """An exchange whose clock runs faster than our monotonic one by `ppm`."""

    ppm: int

    def time_ms(self, mono_s: float) -> float:
        return BASE_MS + mono_s * 1000 * (1 + self.ppm / 1e6)

    def read(self, sent_s: float, out_s: float, back_s: float) -> ClockSample:
        server_ms = math.floor(self.time_ms(sent_s + out_s))
        return ClockSample(server_ms, sent_s, sent_s + out_s + back_s)


exchanges = st.builds(Exchange, st.integers(-199, 199))
delays_s = st.integers(0, 3_000_000).map(lambda us: us / 1e6)
moments_s = st.integers(0, 200_000).map(lambda ms: ms / 1e3)


@settings(deadline=None)  # a shared machine may be busy
@given(exchanges, moments_s, delays_s, delays_s, moments_s)
def test_the_truth_lies_between(
    exchange: Exchange, sent_s: float, out_s: float, back_s: float, later_s: float
) -> None:
    clock = ExchangeClock()
    sample = exchange.read(sent_s, out_s, back_s)
    clock.add(sample)
    now = sample.got_mono + later_s
    assert clock.earliest_ms(now) <= exchange.time_ms(now) <= clock.latest_ms(now)


@settings(deadline=None)  # a shared machine may be busy
@given(exchanges, st.lists(st.tuples(moments_s, delays_s, delays_s), min_size=1, max_size=8))
def test_the_truth_lies_between_after_many_readings(
    exchange: Exchange, readings: list[tuple[float, float, float]]
) -> None:
    clock = ExchangeClock()
    now = 0.0
    for pause_s, out_s, back_s in readings:
        sample = exchange.read(now + pause_s, out_s, back_s)
        now = sample.got_mono
        clock.add(sample)
        assert clock.earliest_ms(now) <= exchange.time_ms(now) <= clock.latest_ms(now)


def test_unknown_before_the_first_reading() -> None:
    clock = ExchangeClock()
    assert not clock.fresh(0.0)
    for ask in (clock.earliest_ms, clock.latest_ms, clock.age_s):
        with pytest.raises(ClockUnknown):
            ask(1.0)


def test_a_wider_reading_does_not_displace_a_tight_one() -> None:
    clock = ExchangeClock()
    clock.add(ClockSample(BASE_MS, 10.0, 10.01))
    clock.add(ClockSample(BASE_MS + 1200, 11.0, 11.5))
    assert clock.width_ms(11.5) < 20


def test_an_old_reading_is_displaced_by_a_wider_one() -> None:
    clock = ExchangeClock(fresh_for_s=60)
    clock.add(ClockSample(BASE_MS, 10.0, 10.01))
    assert clock.fresh(70.0)
    assert not clock.fresh(71.0)
    clock.add(ClockSample(BASE_MS + 61_200, 71.0, 71.5))
    assert clock.age_s(72.0) == 0.5


def test_the_bounds_part_with_age() -> None:
    clock = ExchangeClock()
    clock.add(ClockSample(BASE_MS, 10.0, 10.01))
    assert clock.width_ms(70.0) >= clock.width_ms(10.01) + 20


@pytest.mark.parametrize("jump_ms", [-30_000, 30_000])
def test_a_reading_that_refutes_the_kept_one_displaces_it(jump_ms: int) -> None:
    """The machine slept, or the exchange set its clock: a tight old reading is no merit."""
    clock = ExchangeClock()
    clock.add(ClockSample(BASE_MS, 10.0, 10.001))
    clock.add(ClockSample(BASE_MS + 1000 + jump_ms, 11.0, 11.5))
    truth = BASE_MS + 1000 + jump_ms
    assert clock.earliest_ms(11.5) <= truth + 500
    assert clock.latest_ms(11.5) >= truth


def test_offset_against_a_wall_clock_that_is_wrong() -> None:
    clock = ExchangeClock()
    clock.add(ClockSample(BASE_MS, 10.0, 10.02))
    least, most = clock.offset_ms(BASE_MS - 5000, 10.02)
    assert least <= 5000 <= 5020 <= most <= 5025


def test_an_answer_cannot_precede_its_question() -> None:
    with pytest.raises(ValueError, match="precede"):
        ClockSample(BASE_MS, 2.0, 1.0)
