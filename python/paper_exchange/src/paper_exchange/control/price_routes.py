"""Prices: set, replayed from a file, or falling by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from starlette.requests import Request

from ..domain.klines import Bar, BrokenFile, scaled, synthetic_fall
from ..replay import Replays, read_klines, scale_to
from ..venue import Venue
from .reading import BadControl, Fields, read_fields, read_object, to_decimal


class PriceControl:
    def __init__(self, venue: Venue, replays: Replays) -> None:
        self._venue = venue
        self._replays = replays

    async def prices(self, _: Request) -> object:
        return {s: str(p) for s, p in self._venue.exchange.books.marks.items()}

    async def set_prices(self, request: Request) -> object:
        """A JSON object of symbol to price; all of them are checked before any is set."""
        values = await read_object(request)
        prices = {s: _price(v, f"the price of {s}") for s, v in values.items()}
        self._venue.exchange.set_prices(prices, self._venue.clock.now_ms())
        self._venue.save()
        return {s: str(self._venue.exchange.books.marks[s]) for s in prices}

    async def start_replay(self, request: Request) -> object:
        """From JSON with a `path`, or from an uploaded body with the fields in the query."""
        if request.headers.get("content-type", "").startswith("application/json"):
            fields = await read_fields(request)
            path = Path(fields.text("path"))
            name = str(path)
            try:
                content = path.read_bytes()
            except OSError as error:
                raise BadControl(f"{name}: {error.strerror}") from None
        else:
            fields = Fields(request.query_params)
            name = fields.text("name", "upload")
            content = await request.body()
        symbol = fields.text("symbol")
        speed = _speed(fields)
        skip = fields.integer("skip_minutes", 0)
        minutes = fields.optional_integer("minutes")
        scale = fields.flag("scale", default=False)
        fields.refuse_others()
        try:
            bars: Sequence[Bar] = read_klines(content, name)
        except BrokenFile as error:
            raise BadControl(str(error)) from None
        bars = bars[skip : None if minutes is None else skip + minutes]
        if not bars:
            raise BadControl(f"{name}: no minute is left after skipping {skip}")
        return self._start(symbol, bars, speed, scale=scale)

    async def start_fall(self, request: Request) -> object:
        fields = await read_fields(request)
        symbol = fields.text("symbol")
        depth = fields.decimal("depth_pct", Decimal(10)) / 100
        minutes = fields.integer("minutes", 10)
        seed = fields.integer("seed", 1)
        speed = _speed(fields)
        fields.refuse_others()
        if not 0 < depth < 1 or not 0 < minutes <= 100_000:
            raise BadControl("depth_pct must lie between 0 and 100 and minutes be above zero")
        self._venue.exchange.books.rules_of(symbol)
        start = self._venue.exchange.books.marks[symbol]
        return self._start(symbol, synthetic_fall(start, depth, minutes, seed), speed)

    def _start(
        self, symbol: str, bars: Sequence[Bar], speed: float, *, scale: bool = False
    ) -> object:
        self._venue.exchange.books.rules_of(symbol)
        if scale:
            bars = scaled(bars, scale_to(bars, self._venue.exchange.books.marks[symbol]))
        return self._replays.start(symbol, bars, speed).as_json()

    async def replays(self, _: Request) -> object:
        return {"replays": [replay.as_json() for replay in self._replays.all()]}

    async def step_replay(self, request: Request) -> object:
        fields = await read_fields(request)
        symbol = fields.text("symbol")
        points = fields.integer("points", 1)
        fields.refuse_others()
        replay = self._replays.get(symbol)
        if replay is None:
            raise BadControl(f"no replay of {symbol} was started")
        played = replay.step(points)
        self._venue.save()
        return {**replay.as_json(), "played": played}

    async def stop_replay(self, request: Request) -> object:
        self._replays.stop(request.query_params.get("symbol"))
        return await self.replays(request)


def _price(value: object, what: str) -> Decimal:
    price = to_decimal(value, what)
    if price <= 0:
        raise BadControl(f"{what} must be above zero, not {value!r}")
    return price


def _speed(fields: Fields) -> float:
    speed = fields.decimal("speed", Decimal(60))
    if speed < 0:
        raise BadControl("speed must be 0 (step by hand) or above")
    return float(speed)
