"""The rules on the real crashes: when they would have closed, at which price and why. Pinned."""

import time
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from quantum_exit.exits.params import ExitParams, TakeProfit
from quantum_exit.exits.rules import (
    Observation,
    average_true_range,
    begin,
    decide,
    level_done,
)
from quantum_exit.values import PositionSide

from .replay import Candle, candles, prices

pytestmark = pytest.mark.data
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT

STOP = ExitParams(stop_loss_pct=Decimal(2))
ALL_RULES = ExitParams(
    stop_loss_pct=Decimal(2),
    take_profits=(
        TakeProfit(Decimal(5), Decimal("0.5")),
        TakeProfit(Decimal(10), Decimal("0.25")),
    ),
    break_even_at_pct=Decimal("1.5"),
    trailing_start_pct=Decimal(3),
    trailing_distance_pct=Decimal(1),
)
Trade = list[tuple[str, str, str, str]]


def trade(
    found: list[Candle],
    params: ExitParams,
    side: PositionSide,
    *,
    points: int = 4,
    atr: Decimal | None = None,
) -> Trade:
    """Entered at the first price, each exit carried out at the price that asked for it:
    (time in UTC, rule, fraction, price)."""
    path = prices(found, points)
    opened, entry = next(path)
    state = begin(params, side, entry, opened)
    exits: Trade = []
    for at, price in path:
        state, decisions = decide(params, state, Observation(price, at, atr))
        for decision in decisions:
            clock = time.strftime("%d %H:%M:%S", time.gmtime(at))
            exits.append((clock, decision.rule.value, str(decision.fraction), str(price)))
            if decision.is_full:
                return exits
            state = level_done(state, decision)
    return exits


@pytest.fixture(scope="module")
def avax(data_dir: Path) -> list[Candle]:
    return candles(data_dir / "klines_um_1m" / "AVAXUSDT-1m-2025-02-03T00_06.slice.csv")


@pytest.fixture(scope="module")
def btc(data_dir: Path) -> list[Candle]:
    return candles(data_dir / "klines_um_1m" / "BTCUSDT-UM-1m-2025-10-10T2106_2205.csv")


def test_a_long_in_the_fall_of_avax_is_closed_by_its_stop(avax: list[Candle]) -> None:
    # Entered at 27.6140; the stop lies at 27.06172, the first price seen below it is worse.
    assert trade(avax, STOP, LONG) == [("03 00:16:30", "STOP_LOSS", "1", "26.9860")]


def test_a_short_in_the_fall_of_avax_trails(avax: list[Candle]) -> None:
    assert trade(avax, ALL_RULES, SHORT) == [("03 00:25:30", "TRAILING_STOP", "1", "27.0120")]


def test_the_crash_of_btc_gaps_through_the_stop(btc: list[Candle]) -> None:
    # Entered at 114994.80, stopped at 112694.904: no price was seen between it and 109069.
    assert trade(btc, STOP, LONG) == [("10 21:13:30", "STOP_LOSS", "1", "109069.00")]


def test_a_short_in_the_crash_of_btc_takes_its_profit_then_trails(btc: list[Candle]) -> None:
    assert trade(btc, ALL_RULES, SHORT) == [
        ("10 21:13:30", "TAKE_PROFIT", "0.5", "109069.00"),
        ("10 21:13:45", "TRAILING_STOP", "1", "111903.80"),
    ]


def test_the_atr_of_the_quiet_quarter_of_an_hour_sets_a_closer_stop(avax: list[Candle]) -> None:
    atr = average_true_range(((c.high, c.low, c.close) for c in avax[:15]), 14)
    assert atr is not None
    assert round(atr, 4) == Decimal("0.1211")
    params = ExitParams(stop_loss_pct=Decimal(5), stop_loss_atr_multiple=Decimal(3))
    assert trade(avax[15:], params, LONG, atr=atr) == [("03 00:19:30", "ATR_STOP", "1", "26.7700")]


def test_the_time_limit_ends_it_after_an_hour(avax: list[Candle]) -> None:
    params = ExitParams(stop_loss_pct=Decimal(20), max_hold_s=Decimal(3600))
    assert trade(avax, params, LONG) == [("03 01:00:00", "TIME_LIMIT", "1", "26.8800")]


def test_one_price_a_minute_closes_later_at_what_was_seen(avax: list[Candle]) -> None:
    (slow,) = trade(avax, STOP, LONG, points=1)
    assert slow == ("03 00:17:00", "STOP_LOSS", "1", "26.9930")


def test_a_month_of_daily_entries(data_dir: Path) -> None:
    month = candles(data_dir / "klines_um_1m" / "AVAXUSDT-1m-2025-02.csv.gz")
    ends = Counter(
        (side.value, trade(month[day * 1440 :], ALL_RULES, side)[-1][1])
        for day in range(28)
        for side in (LONG, SHORT)
    )
    assert ends == {
        ("LONG", "STOP_LOSS"): 13,
        ("LONG", "TRAILING_STOP"): 7,
        ("LONG", "BREAK_EVEN"): 8,
        ("SHORT", "STOP_LOSS"): 13,
        ("SHORT", "TRAILING_STOP"): 9,
        ("SHORT", "BREAK_EVEN"): 6,
    }
