"""The chart of one closed position as inline SVG: what the price did, and where we stood. Pure.

Its colours come from the page. Every mark also has a shape of its own, so none needs a colour.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from quantum_exit.binance.model import Kline
from quantum_exit.exitctl.report.episodes import Episode
from quantum_exit.exitctl.report.markup import Markup, tag
from quantum_exit.values import format_number

WIDE: Final = 440
HIGH: Final = 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 8, 372, 12, 200
_MARGIN_S: Final = 120.0
_MARGIN_SHARE: Final = 0.15
_MOST_CANDLES: Final = 120
_DISAGREES: Final = Decimal("0.005")
"""A fill this far outside its minute's candle was not made at these prices."""


@dataclass(frozen=True, slots=True)
class Candle:
    begins: float
    ends: float
    open: float
    high: float
    low: float
    close: float


@dataclass(frozen=True, slots=True)
class _Scale:
    begins: float
    ends: float
    low: float
    high: float

    def x(self, at_epoch: float) -> float:
        return _LEFT + (at_epoch - self.begins) / (self.ends - self.begins) * (_RIGHT - _LEFT)

    def y(self, price: float | Decimal) -> float:
        return _BOTTOM - (float(price) - self.low) / (self.high - self.low) * (_BOTTOM - _TOP)


def candles_of(episode: Episode, klines: Sequence[Kline]) -> tuple[list[Candle], str]:
    """The candles around the episode, and why there are none if so."""
    begin, end = episode.opened_epoch or episode.exits[0].at_epoch, episode.closed_epoch
    margin = max(_MARGIN_S, (end - begin) * _MARGIN_SHARE)
    begin, end = begin - margin, end + margin
    near = [k for k in klines if k.close_time_ms / 1000 >= begin and k.open_time_ms / 1000 <= end]
    if not near:
        return [], "the exchange told no prices of this time"
    for fill in (*episode.entries, *episode.exits):
        for kline in near:
            inside = kline.open_time_ms <= fill.at_epoch * 1000 <= kline.close_time_ms
            if inside and fill.price is not None and not _agrees(fill.price, kline):
                return [], "the exchange's klines do not agree with the fills, so none are drawn"
    return _joined(near), ""


def _agrees(price: Decimal, kline: Kline) -> bool:
    return kline.low * (1 - _DISAGREES) <= price <= kline.high * (1 + _DISAGREES)


def _joined(klines: Sequence[Kline]) -> list[Candle]:
    """Several minutes to a candle where there are many."""
    step = -(-len(klines) // _MOST_CANDLES)
    groups = [klines[at : at + step] for at in range(0, len(klines), step)]
    return [
        Candle(
            begins=group[0].open_time_ms / 1000,
            ends=group[-1].close_time_ms / 1000,
            open=float(group[0].open),
            high=float(max(k.high for k in group)),
            low=float(min(k.low for k in group)),
            close=float(group[-1].close),
        )
        for group in groups
    ]


def chart(episode: Episode, candles: Sequence[Candle], number: int) -> Markup:
    """`number`: of the chart on its page, for the ids of its title and description."""
    scale = _scale(episode, candles)
    title = f"{episode.symbol} {episode.side}, {format_number(episode.qty)} closed"
    return tag(
        "svg",
        tag("title", title, id=f"chart{number}-title"),
        tag("desc", describe(episode), id=f"chart{number}-desc"),
        _grid(scale),
        (_candle(each, scale) for each in candles),
        _levels(episode, scale),
        _marks(episode, scale),
        role="img",
        aria_labelledby=f"chart{number}-title chart{number}-desc",
        viewBox=f"0 0 {WIDE} {HIGH}",
    )


def describe(episode: Episode) -> str:
    """The chart in words."""
    entry = _or_unknown(episode.entry_price)
    opened = "before the period" if episode.opened_epoch is None else _clock(episode.opened_epoch)
    exits = "; ".join(
        f"{format_number(f.qty)} at {_or_unknown(f.price)} at {_clock(f.at_epoch)}"
        for f in episode.exits
    )
    stops = ", ".join(format_number(stop.trigger) for stop in episode.stops) or "none recorded"
    return f"Opened {opened} at {entry}; closed {exits}; stops on the exchange: {stops}."


def _or_unknown(price: Decimal | None) -> str:
    return "an unknown price" if price is None else short(price)


def short(price: Decimal) -> str:
    """Without the noise of a mean: at most eight digits after the point."""
    return format_number(round(price, 8))


def _clock(at_epoch: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(at_epoch))


def _scale(episode: Episode, candles: Sequence[Candle]) -> _Scale:
    times = [fill.at_epoch for fill in (*episode.entries, *episode.exits)]
    times += [each.begins for each in candles] + [each.ends for each in candles]
    prices = [float(p) for p in _prices(episode)]
    prices += [each.low for each in candles] + [each.high for each in candles]
    begins, ends = min(times), max(times)
    if ends - begins < 1:
        begins, ends = begins - 1, ends + 1
    low, high = (min(prices), max(prices)) if prices else (0.0, 1.0)
    room = (high - low) * 0.08 or abs(high) * 0.01 or 1.0
    return _Scale(begins, ends, low - room, high + room)


def _prices(episode: Episode) -> list[Decimal]:
    found = [fill.price for fill in (*episode.entries, *episode.exits)]
    found += [fill.level for fill in episode.exits]
    found += [stop.trigger for stop in episode.stops]
    found.append(episode.entry_price)
    return [price for price in found if price is not None]


def _grid(scale: _Scale) -> list[Markup]:
    parts = []
    digits = max(0, min(8, 3 - len(str(int((scale.high - scale.low) * 1000))) + 3))
    for share in (0.08, 0.36, 0.64, 0.92):
        price = scale.low + (scale.high - scale.low) * share
        y = round(scale.y(price), 1)
        parts.append(tag("line", x1=_LEFT, x2=_RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", f"{price:.{digits}f}", x=_RIGHT + 6, y=y + 4))
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        at = scale.begins + (scale.ends - scale.begins) * share
        x = round(scale.x(at), 1)
        parts.append(tag("text", _clock(at), x=x, y=_BOTTOM + 20, text_anchor=anchor))
    return parts


def _candle(each: Candle, scale: _Scale) -> Markup:
    left, right = scale.x(each.begins), scale.x(each.ends)
    wide = max((right - left) * 0.6, 0.8)
    middle = round((left + right) / 2, 1)
    top, bottom = sorted((scale.y(each.open), scale.y(each.close)))
    body = tag(
        "rect",
        x=round(middle - wide / 2, 1),
        y=round(top, 1),
        width=round(wide, 1),
        height=round(max(bottom - top, 1), 1),
        class_="rise" if each.close >= each.open else "fall",
    )
    wick = tag(
        "line",
        x1=middle,
        x2=middle,
        y1=round(scale.y(each.high), 1),
        y2=round(scale.y(each.low), 1),
        class_="wick",
    )
    return Markup(wick + body)


def _levels(episode: Episode, scale: _Scale) -> list[Markup]:
    """Stops on the exchange from when they were asked for until the next, and the level that
    an exit was for: known at that exit alone."""
    parts = []
    ends = [*(stop.at_epoch for stop in episode.stops[1:]), episode.closed_epoch]
    for stop, end in zip(episode.stops, ends, strict=False):
        begin = max(stop.at_epoch, scale.begins)
        parts.append(_level(scale, begin, end, stop.trigger, "resting"))
    for fill in episode.exits:
        if fill.level is not None:
            begin = max(fill.at_epoch - (scale.ends - scale.begins) / 8, scale.begins)
            parts.append(_level(scale, begin, fill.at_epoch, fill.level, "level"))
    return parts


def _level(scale: _Scale, begin: float, end: float, price: Decimal, kind: str) -> Markup:
    y = round(scale.y(price), 1)
    x1, x2 = round(scale.x(begin), 1), round(scale.x(end), 1)
    return tag("line", x1=x1, x2=max(x2, x1 + 3), y1=y, y2=y, class_=kind)


def _marks(episode: Episode, scale: _Scale) -> list[Markup]:
    parts = []
    for fill in episode.entries:
        if fill.price is not None:
            x, y = round(scale.x(fill.at_epoch), 1), round(scale.y(fill.price), 1)
            arrow = f"M{x - 9} {y - 5}L{x} {y}L{x - 9} {y + 5}Z"
            parts.append(tag("path", d=arrow, class_="entry"))
    if not parts and episode.entry_price is not None:  # at which price is known, when is not
        parts.append(_level(scale, scale.begins, scale.ends, episode.entry_price, "entry-price"))
    for fill in episode.exits:
        if fill.price is not None:
            x, y = round(scale.x(fill.at_epoch), 1), round(scale.y(fill.price), 1)
            cross = f"M{x - 5} {y - 5}L{x + 5} {y + 5}M{x - 5} {y + 5}L{x + 5} {y - 5}"
            parts.append(tag("path", d=cross, class_="exit"))
    return parts + _words(episode, scale)


def _words(episode: Episode, scale: _Scale) -> list[Markup]:
    """The prices beside the first entry and the last exit: away from each other."""
    first, last = next(iter(episode.entries), None), episode.exits[-1]
    found = []
    for fill, other, dx, anchor in ((first, last, -12, "end"), (last, first, 9, "start")):
        if fill is None or fill.price is None:
            continue
        x, y = scale.x(fill.at_epoch) + dx, scale.y(fill.price) + 4
        if other is not None and other.price is not None and abs(scale.y(other.price) - y) < 20:
            y += -9 if fill.price >= other.price else 9
        if not _LEFT + 50 < x < _RIGHT - 50:  # near an edge there is no room on that side
            x, anchor = (x - 2 * dx, "end" if anchor == "start" else "start")
        where = {"x": round(x, 1), "y": round(y, 1)}
        found.append(tag("text", short(fill.price), class_="mark", text_anchor=anchor, **where))
    return found
