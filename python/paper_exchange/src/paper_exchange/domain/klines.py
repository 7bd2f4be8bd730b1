"""Kline files in the monthly format of data.binance.vision, and the path inside a minute."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

_COLUMNS = 12
_MINUTE_MS = 60_000
_PRICE_NAMES = ("open", "high", "low", "close")
_FIRST_MICROSECOND_TIME = 10**15


class BrokenFile(Exception):
    """A kline file that cannot be played: the message has its name, the line, what is wrong."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One minute. `open_time_ms` is the file's time, not the exchange's."""

    open_time_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal

    def path(self) -> tuple[Decimal, Decimal, Decimal, Decimal]:
        """The order in which the prices are played.

        Open, high, low, close in a minute that falls; open, low, high, close in one that does
        not: the extreme against the direction comes first.
        """
        if self.close < self.open:
            return self.open, self.high, self.low, self.close
        return self.open, self.low, self.high, self.close


def parse_klines(lines: Iterable[str], name: str) -> list[Bar]:
    """All bars of a file, with or without its header row. Raises BrokenFile for any bad row.

    Prices must be above zero and high and low enclose the others; times must rise by whole
    minutes. A missing minute is no error: real months have some.
    """
    bars: list[Bar] = []
    for number, line in enumerate(lines, start=1):
        text = line.strip().removeprefix("\ufeff")
        if not text or (number == 1 and text.startswith("open_time")):
            continue
        bar = _parse_row(text, f"{name}, line {number}")
        if bars and (bar.open_time_ms - bars[-1].open_time_ms) % _MINUTE_MS:
            raise BrokenFile(f"{name}, line {number}: open_time is off the minutes of the others")
        if bars and bar.open_time_ms <= bars[-1].open_time_ms:
            raise BrokenFile(f"{name}, line {number}: open_time does not rise")
        bars.append(bar)
    if not bars:
        raise BrokenFile(f"{name}: no klines in it")
    return bars


def _parse_row(text: str, where: str) -> Bar:
    cells = text.split(",")
    if len(cells) != _COLUMNS:
        raise BrokenFile(f"{where}: {len(cells)} columns instead of {_COLUMNS}")
    if not cells[0].isdecimal():
        raise BrokenFile(f"{where}: open_time {cells[0]!r} is not a number")
    time = int(cells[0])
    if time >= _FIRST_MICROSECOND_TIME:
        time //= 1_000
    prices = [_price(cell, n, where) for cell, n in zip(cells[1:5], _PRICE_NAMES, strict=True)]
    bar = Bar(time, *prices)
    if bar.high < max(bar.open, bar.close, bar.low):
        raise BrokenFile(f"{where}: high {bar.high} is below another price of the row")
    if bar.low > min(bar.open, bar.close):
        raise BrokenFile(f"{where}: low {bar.low} is above another price of the row")
    return bar


def _price(cell: str, column: str, where: str) -> Decimal:
    try:
        price = Decimal(cell)
    except InvalidOperation:
        raise BrokenFile(f"{where}: {column} {cell!r} is not a number") from None
    if not price.is_finite() or price <= 0:
        raise BrokenFile(f"{where}: {column} {cell!r} is not a price above zero")
    return price


def synthetic_fall(start: Decimal, depth: Decimal, minutes: int, seed: int) -> list[Bar]:
    """A made-up fall by the fraction `depth` (0.1 is ten percent), the same for the same seed.

    Each minute goes its even share down with some noise; the last close is exact to 8 places.
    """
    chance = random.Random(seed)  # noqa: S311 a made-up market, no secrets
    end = start * (1 - depth)
    bars = []
    price = start
    for minute in range(1, minutes + 1):
        even = start + (end - start) * minute / minutes
        noise = (start - end) / minutes * Decimal(str(round(chance.uniform(-0.8, 0.8), 4)))
        close = end if minute == minutes else even + noise
        wick = abs(start - end) / minutes * Decimal(str(round(chance.uniform(0, 0.5), 4)))
        high, low = max(price, close) + wick, min(price, close) - wick
        if minute == minutes:
            low = min(price, close)
        bars.append(Bar(minute * _MINUTE_MS, *(_eight(p) for p in (price, high, low, close))))
        price = close
    return bars


def _eight(price: Decimal) -> Decimal:
    return round(price, 8)


def scaled(bars: Iterable[Bar], factor: Decimal) -> list[Bar]:
    return [
        Bar(b.open_time_ms, *(_eight(p * factor) for p in (b.open, b.high, b.low, b.close)))
        for b in bars
    ]
