"""Fills become positions: each from its opening to flat, with the stops that rested. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from quantum_exit.exitctl.activity import Entry, at_epoch
from quantum_exit.exitctl.report.fills import Fill, number
from quantum_exit.values import PositionSide


@dataclass(frozen=True, slots=True)
class Stop:
    """A stop as it was asked to rest on the exchange."""

    at_epoch: float
    trigger: Decimal


@dataclass(frozen=True, slots=True)
class Episode:
    """A position that was closed in the period."""

    symbol: str
    side: PositionSide
    entries: tuple[Fill, ...]
    exits: tuple[Fill, ...]
    opened_before: bool
    """Of its entries some, or all, lie before the period."""
    stops: tuple[Stop, ...] = ()

    @property
    def opened_epoch(self) -> float | None:
        return None if self.opened_before or not self.entries else self.entries[0].at_epoch

    @property
    def closed_epoch(self) -> float:
        return self.exits[-1].at_epoch

    @property
    def qty(self) -> Decimal:
        """What was closed."""
        return sum((fill.qty for fill in self.exits), Decimal(0))

    @property
    def entry_price(self) -> Decimal | None:
        """The mean of its entries; of one opened before the period what the intents say."""
        if not self.opened_before:
            return _mean(self.entries)
        return next((fill.entry_price for fill in self.exits if fill.entry_price), None)

    @property
    def exit_price(self) -> Decimal | None:
        return _mean(self.exits)

    @property
    def gain(self) -> Decimal | None:
        """In the quote asset, before fees. None when a price is unknown."""
        entry, out = self.entry_price, self.exit_price
        if entry is None or out is None:
            return None
        return (out - entry) * self.qty * (1 if self.side is PositionSide.LONG else -1)


@dataclass(frozen=True, slots=True)
class Sorted:
    closed: tuple[Episode, ...]
    """In the order of their ends."""
    still_open: tuple[str, ...]
    unclear: tuple[str, ...]
    """Symbols whose fills cannot be told apart: the amount they ended with is not known."""


def sort_out(
    fills: Sequence[Fill], amounts: dict[str, Decimal] | None, intents: Sequence[Entry]
) -> Sorted:
    """`fills`: oldest first. `amounts`: signed positions of now, by symbol (one without is
    flat); None when they are not known, so that none of the fills can be placed."""
    closed: list[Episode] = []
    still_open: list[str] = []
    symbols = sorted({fill.symbol for fill in fills})
    if amounts is None:
        return Sorted((), (), tuple(symbols))
    for symbol in symbols:
        own = [fill for fill in fills if fill.symbol == symbol]
        now = amounts.get(symbol, Decimal(0))
        before = now - sum((fill.signed for fill in own), Decimal(0))
        episodes, left = _split(symbol, own, before)
        stops = _stops(symbol, intents)
        closed += (_with_stops(episode, stops) for episode in episodes)
        if left:
            still_open.append(symbol)
    return Sorted(tuple(sorted(closed, key=lambda each: each.closed_epoch)), tuple(still_open), ())


def _split(symbol: str, fills: Iterable[Fill], before: Decimal) -> tuple[list[Episode], Decimal]:
    """The closed episodes, and the amount that is left."""
    found: list[Episode] = []
    amount, older = before, bool(before)
    entries: list[Fill] = []
    exits: list[Fill] = []
    for fill in fills:
        after = amount + fill.signed
        reduces = amount * fill.signed < 0
        (exits if reduces else entries).append(fill)
        if reduces and amount * after <= 0:
            side = PositionSide.of(amount)
            found.append(Episode(symbol, side, tuple(entries), tuple(exits), older))
            # what went through zero opened the next one with the rest
            entries, exits, older = ([fill] if after else []), [], False
        amount = after
    return found, amount


def _stops(symbol: str, intents: Iterable[Entry]) -> list[Stop]:
    found = []
    for entry_id, fields in intents:
        trigger = number(fields.get("trigger_price"))
        wanted = fields.get("action") == "PLACE_STOP" and fields.get("symbol") == symbol
        if wanted and trigger:
            found.append(Stop(at_epoch(entry_id), trigger))
    return found


def _with_stops(episode: Episode, stops: Iterable[Stop]) -> Episode:
    begin = episode.opened_epoch or 0.0
    own = tuple(s for s in stops if begin <= s.at_epoch <= episode.closed_epoch)
    return Episode(
        episode.symbol, episode.side, episode.entries, episode.exits, episode.opened_before, own
    )


def _mean(fills: Sequence[Fill]) -> Decimal | None:
    qty = sum((fill.qty for fill in fills), Decimal(0))
    if not qty or any(fill.price is None for fill in fills):
        return None
    return sum((fill.qty * (fill.price or 0) for fill in fills), Decimal(0)) / qty


def as_json(episode: Episode) -> dict[str, Any]:
    return {
        "symbol": episode.symbol,
        "side": str(episode.side),
        "qty": episode.qty,
        "opened_epoch": episode.opened_epoch,
        "closed_epoch": episode.closed_epoch,
        "entry_price": episode.entry_price,
        "exit_price": episode.exit_price,
        "gain": episode.gain,
        "exits": [
            {"at_epoch": f.at_epoch, "qty": f.qty, "price": f.price, "by": f.by, "reason": f.reason}
            for f in episode.exits
        ],
        "stops": [{"at_epoch": s.at_epoch, "trigger": s.trigger} for s in episode.stops],
    }
