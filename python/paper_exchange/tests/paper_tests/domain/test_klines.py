"""Reading kline files, and the order of prices inside a minute."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paper_exchange.domain.candles import MINUTE_MS, CandleSeries
from paper_exchange.domain.klines import BrokenFile, parse_klines, synthetic_fall

HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    "taker_buy_volume,taker_buy_quote_volume,ignore"
)
ROW = "1738540800000,27.6140,27.6230,27.5080,27.5630,38130,1738540859999,1050894.9,3420,2,5,0"
NEXT = ROW.replace("1738540800000", "1738540860000")


def test_with_and_without_a_header() -> None:
    assert parse_klines([HEADER, ROW, NEXT], "f") == parse_klines([ROW, NEXT], "f")
    assert [b.open_time_ms for b in parse_klines([ROW, NEXT], "f")] == [
        1738540800000,
        1738540860000,
    ]


def test_microseconds_are_understood() -> None:
    row = ROW.replace("1738540800000", "1738540800000000")
    assert parse_klines([row], "f") == parse_klines([ROW], "f")


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (ROW.rsplit(",", 1)[0], "f.csv, line 3: 11 columns instead of 12"),
        (ROW.replace("27.6230", "x"), "f.csv, line 3: high 'x' is not a number"),
        (ROW.replace("27.6230", "NaN"), "f.csv, line 3: high 'NaN' is not a price above zero"),
        (ROW.replace("27.5080", "-1"), "f.csv, line 3: low '-1' is not a price above zero"),
        (ROW.replace("27.6230", "27.6"), "f.csv, line 3: high 27.6 is below another price"),
        (ROW.replace("27.5080", "27.6"), "f.csv, line 3: low 27.6 is above another price"),
        (ROW.replace("1738540800000", "soon"), "f.csv, line 3: open_time 'soon' is not a number"),
        (ROW.replace("1738540800000", "1738540860001"), "off the minutes"),
        (ROW, "f.csv, line 3: open_time does not rise"),
    ],
)
def test_a_broken_row_is_named(row: str, complaint: str) -> None:
    with pytest.raises(BrokenFile) as error:
        parse_klines([HEADER, ROW, row], "f.csv")
    assert complaint in str(error.value)


def test_an_empty_file() -> None:
    with pytest.raises(BrokenFile, match="no klines"):
        parse_klines([HEADER], "f.csv")


def test_the_path_of_a_minute() -> None:
    falling = parse_klines([ROW], "f")[0]
    assert falling.path() == (falling.open, falling.high, falling.low, falling.close)
    rising = parse_klines([ROW.replace("27.5630", "27.6200")], "f")[0]
    assert rising.path() == (rising.open, rising.low, rising.high, rising.close)


@given(
    st.decimals("0.01", "100000", places=2),
    st.decimals("0.01", "0.9", places=2),
    st.integers(1, 60),
    st.integers(0, 5),
)
def test_a_made_up_fall(start: Decimal, depth: Decimal, minutes: int, seed: int) -> None:
    bars = synthetic_fall(start, depth, minutes, seed)
    assert bars == synthetic_fall(start, depth, minutes, seed)
    assert len(bars) == minutes
    assert bars[0].open == start
    assert abs(bars[-1].close - start * (1 - depth)) < Decimal("0.0000001")
    for bar in bars:
        assert 0 < bar.low <= min(bar.open, bar.close)
        assert max(bar.open, bar.close) <= bar.high


def test_candles_follow_the_clock() -> None:
    series = CandleSeries(Decimal(10), 0)
    series.see(Decimal(12), 1_000)
    series.see(Decimal(9), 59_999)
    series.see(Decimal(11), 2 * MINUTE_MS)
    rows = series.read(1, 10, 2 * MINUTE_MS + 5)
    assert [time for time, _ in rows] == [0, MINUTE_MS, 2 * MINUTE_MS]
    first = rows[0][1]
    assert (first.open, first.high, first.low, first.close) == (10, 12, 9, 9)
    assert rows[1][1].high == 9
    merged = series.read(3, 10, 2 * MINUTE_MS + 5)
    assert len(merged) == 1
    assert (merged[0][1].high, merged[0][1].low, merged[0][1].close) == (12, 9, 11)


def test_candles_of_a_fast_replay_end_at_the_present_minute() -> None:
    series = CandleSeries(Decimal(10), 0)
    for price in range(1, 6):
        series.end_minute(Decimal(price))
    times = [time for time, _ in series.read(1, 3, 30 * MINUTE_MS)]
    assert times == [28 * MINUTE_MS, 29 * MINUTE_MS, 30 * MINUTE_MS]
