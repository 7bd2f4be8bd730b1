"""Real klines as a path of prices: each minute open, then the two extremes, then the close."""

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path


@dataclass(frozen=True)
class Candle:
    open_time_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal


def candles(path: Path) -> list[Candle]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        return [
            Candle(int(row["open_time"]), *(Decimal(row[name]) for name in _PRICES))
            for row in csv.DictReader(file)
        ]


_PRICES = ("open", "high", "low", "close")


def prices(found: list[Candle], points: int = 4) -> Iterator[tuple[float, Decimal]]:
    """(Unix seconds, price). Four points a minute, the worse extreme of a falling minute last;
    or one: only the opening prices, as a slow cycle might see."""
    for candle in found:
        low_first = candle.close >= candle.open
        inner = (candle.low, candle.high) if low_first else (candle.high, candle.low)
        path = (candle.open, *inner, candle.close)[:points]
        for number, price in enumerate(path):
            yield candle.open_time_ms / 1000 + number * 15, price
