"""One-minute candles made of the mark prices that were seen.

A candle ends when its minute on the exchange's clock ends, or when a replay says that a minute
of the file has ended. Times are given on reading, backwards from the current minute, so a
replay at sixty times the speed fills an hour of candles in a minute.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from decimal import Decimal

MINUTE_MS = 60_000
_KEPT = 1_500
INTERVALS = {
    "1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240,
    "6h": 360, "8h": 480, "12h": 720, "1d": 1_440,
}  # fmt: skip


@dataclass(slots=True)
class Candle:
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal

    def see(self, price: Decimal) -> None:
        self.high = max(self.high, price)
        self.low = min(self.low, price)
        self.close = price


class CandleSeries:
    """Of one symbol. The last candle is the running minute."""

    def __init__(self, price: Decimal, now_ms: int) -> None:
        self._candles: deque[Candle] = deque([Candle(price, price, price, price)], maxlen=_KEPT)
        self._minute = now_ms // MINUTE_MS

    def see(self, price: Decimal, now_ms: int) -> None:
        self._advance(now_ms)
        self._candles[-1].see(price)

    def end_minute(self, price: Decimal) -> None:
        """The next candle begins, whatever the clock says; it opens at `price`."""
        self._candles.append(Candle(price, price, price, price))

    def _advance(self, now_ms: int) -> None:
        minute = now_ms // MINUTE_MS
        for _ in range(min(max(minute - self._minute, 0), _KEPT)):
            self.end_minute(self._candles[-1].close)
        self._minute = max(minute, self._minute)

    def read(self, minutes: int, limit: int, now_ms: int) -> list[tuple[int, Candle]]:
        """The last `limit` candles of `minutes` each as (open time in ms, candle), oldest first."""
        self._advance(now_ms)
        rows: dict[int, Candle] = {}
        width = minutes * MINUTE_MS
        first = (self._minute - len(self._candles) + 1) * MINUTE_MS
        for index, candle in enumerate(self._candles):
            time = (first + index * MINUTE_MS) // width * width
            known = rows.get(time)
            if known is None:
                rows[time] = Candle(candle.open, candle.high, candle.low, candle.close)
            else:
                known.high = max(known.high, candle.high)
                known.low = min(known.low, candle.low)
                known.close = candle.close
        return list(rows.items())[-limit:]
