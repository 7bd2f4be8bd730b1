"""Plays minutes of prices into the exchange, at a chosen speed or step by step."""

from __future__ import annotations

import asyncio
import gzip
import io
import zipfile
import zlib
from collections.abc import Sequence
from decimal import Decimal

from .clock import Clock
from .domain.klines import Bar, BrokenFile, parse_klines
from .exchange import Exchange

_POINTS = 4
_MINUTE_S = 60.0


def read_klines(content: bytes, name: str) -> list[Bar]:
    """Bars of a file's bytes: plain, gzip, or zip with one file in it. Raises BrokenFile."""
    try:
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        elif content[:2] == b"PK":
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                content = archive.read(archive.namelist()[0])
        text = content.decode("utf-8")
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, IndexError) as error:
        raise BrokenFile(f"{name}: cannot be unpacked: {error}") from error
    except UnicodeDecodeError as error:
        raise BrokenFile(f"{name}: not a text file: {error}") from error
    return parse_klines(text.splitlines(), name)


class Replay:
    """One symbol's prices from `bars`, four points a minute in the order of `Bar.path`.

    `speed`: minutes of the file in one real minute; 0 waits for `step`. The candles of the
    symbol follow the file's minutes.
    """

    def __init__(
        self, exchange: Exchange, clock: Clock, symbol: str, bars: Sequence[Bar], speed: float
    ) -> None:
        self.symbol = symbol
        self.speed = speed
        self._exchange = exchange
        self._clock = clock
        self._bars = bars
        self._points = 0
        self._stopped = False
        self._task: asyncio.Task[None] | None = None
        self.step(1)

    @property
    def is_finished(self) -> bool:
        return self._points >= len(self._bars) * _POINTS

    def step(self, points: int) -> int:
        """Plays the next `points` prices at once; the number of those that were left to play."""
        played = 0
        while played < points and not self.is_finished and not self._stopped:
            minute, point = divmod(self._points, _POINTS)
            price = self._bars[minute].path()[point]
            if point == 0 and minute > 0:
                self._exchange.candles(self.symbol).end_minute(price)
            self._exchange.set_price(self.symbol, price, self._clock.now_ms())
            self._points += 1
            played += 1
        return played

    def start(self) -> None:
        if self.speed:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        """By deadlines, so that a slow machine does not stretch the minutes."""
        loop = asyncio.get_running_loop()
        pause_s = _MINUTE_S / self.speed / _POINTS
        due_s = loop.time()
        while not self.is_finished and not self._stopped:
            due_s += pause_s
            await asyncio.sleep(max(due_s - loop.time(), 0))
            self.step(1)

    def stop(self) -> None:
        self._stopped = True
        if self._task:
            self._task.cancel()

    def as_json(self) -> dict[str, object]:
        minutes, _ = divmod(self._points, _POINTS)
        last = self._bars[min(max(self._points - 1, 0) // _POINTS, len(self._bars) - 1)]
        if self.is_finished:
            state = "finished"
        elif self._stopped:
            state = "stopped"
        else:
            state = "running" if self.speed else "waiting"
        return {
            "symbol": self.symbol,
            "state": state,
            "speed": self.speed,
            "minutes": len(self._bars),
            "minutes_played": minutes,
            "points_played": self._points,
            "file_time_ms": last.open_time_ms,
            "price": str(self._exchange.books.marks[self.symbol]),
        }


class Replays:
    """At most one a symbol."""

    def __init__(self, exchange: Exchange, clock: Clock) -> None:
        self._exchange = exchange
        self._clock = clock
        self._by_symbol: dict[str, Replay] = {}

    def start(self, symbol: str, bars: Sequence[Bar], speed: float) -> Replay:
        """The first price counts at once. A running replay of the symbol is stopped."""
        self._exchange.books.rules_of(symbol)
        self.stop(symbol)
        replay = Replay(self._exchange, self._clock, symbol, bars, speed)
        self._by_symbol[symbol] = replay
        replay.start()
        return replay

    def get(self, symbol: str) -> Replay | None:
        return self._by_symbol.get(symbol)

    def all(self) -> list[Replay]:
        return list(self._by_symbol.values())

    def stop(self, symbol: str | None = None) -> None:
        for replay in self.all():
            if symbol in (None, replay.symbol):
                replay.stop()

    def forget(self) -> None:
        self.stop()
        self._by_symbol.clear()


def scale_to(bars: Sequence[Bar], price: Decimal) -> Decimal:
    """The factor that lets `bars` begin at `price`."""
    return price / bars[0].open
