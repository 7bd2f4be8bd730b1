"""One cycle's decisions: positions, prices and results in; new tracks, intents and news out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from quantum_exit.binance.model import Position
from quantum_exit.brain.asking import (
    Failure,
    answered,
    left_of,
    may_ask,
    next_ask,
    slot_of,
    with_ask,
)
from quantum_exit.brain.results import PlanResult
from quantum_exit.brain.track import Ask, Track
from quantum_exit.exits.params import HarvestParams
from quantum_exit.exits.rules import Decision, Observation, begin, decide, entry_moved, level_done
from quantum_exit.messages import IntentAction
from quantum_exit.values import PositionSide, format_epoch, format_number

_SAME_ENTRY: Final = Decimal("0.0001")
_WIRE_PLACES: Final = Decimal("1e-18")


class Mode(StrEnum):
    LIVE = "LIVE"
    SHADOW = "SHADOW"
    KILLED = "KILLED"
    """A kill switch is on: decided as ever, written to the shadow stream only."""


@dataclass(frozen=True, slots=True)
class View:
    """What one cycle saw. `positions` holds those that are not flat, by symbol."""

    now_epoch: float
    positions: Mapping[str, Position]
    results: tuple[PlanResult, ...]
    """Of the owner's plans."""
    params: HarvestParams
    mode_of: Callable[[str], Mode]
    atrs: Mapping[str, Decimal]
    owner: str
    went_flat: Mapping[str, Decimal] = field(default_factory=lambda: MappingProxyType({}))
    """Symbols that by their fills were flat at some moment since the last cycle, with what they
    hold by now."""
    granted: frozenset[str] | None = frozenset()
    """Symbols in which an order may be on its way; None where that is unknown."""


@dataclass(frozen=True, slots=True)
class Wish:
    """An intent's fields, unsigned, and where it goes."""

    mode: Mode
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Step:
    tracks: Mapping[str, Track]
    """Of every open position whose price is known or was known."""
    wishes: tuple[Wish, ...]
    failures: tuple[Failure, ...]
    decisions: int
    """Exits whose reason holds now, whether or not they are asked for again."""
    adopted: tuple[Track, ...]
    unpriced: tuple[str, ...]
    """Open positions for which no price, or no entry price, was to be had: their stop does
    not work."""


def price_of(position: Position) -> Decimal | None:
    """The mark price that came with the position; None when it came with none."""
    return position.mark_price if position.mark_price > 0 else None


def step(tracks: Mapping[str, Track], view: View) -> Step:
    results: dict[str, list[PlanResult]] = {}
    for result in view.results:
        results.setdefault(result.symbol, []).append(result)
    new_tracks: dict[str, Track] = {}
    wishes: list[Wish] = []
    failures: list[Failure] = []
    adopted: list[Track] = []
    unpriced: list[str] = []
    decisions = 0
    for symbol, found_position in view.positions.items():
        position = _with_entry(found_position, tracks.get(symbol), view)
        if position is None:
            unpriced.append(symbol)
            continue
        track = _follow(tracks.get(symbol), position, view)
        if tracks.get(symbol) is None or tracks[symbol].episode != track.episode:
            adopted.append(track)
        track, failed = answered(track, tuple(results.get(symbol, ())), view.now_epoch)
        failures += failed
        price = price_of(position)
        if price is None:
            unpriced.append(symbol)
        else:
            track, found, asked = _decide(track, price, view)
            decisions += found
            wishes += asked
        new_tracks[symbol] = track
    return Step(
        tracks=new_tracks,
        wishes=tuple(wishes),
        failures=tuple(failures),
        decisions=decisions,
        adopted=tuple(adopted),
        unpriced=tuple(unpriced),
    )


def _with_entry(position: Position, track: Track | None, view: View) -> Position | None:
    """An entry price of zero is one that the exchange did not tell: measured by it, any price
    is a profit without end or, for a SHORT, a loss. The known one holds for its episode; None
    where there is none."""
    if position.entry_price > 0:
        return position
    is_known = (
        track is not None
        and track.rules.side is PositionSide.of(position.amount)
        and position.symbol not in view.went_flat
    )
    return replace(position, entry_price=track.rules.entry) if track and is_known else None


def _follow(track: Track | None, position: Position, view: View) -> Track:
    """The track of this position's episode: the known one, brought up to date, or a new one."""
    if track is None:
        return _adopt(position, view)
    entry_moves = _differs(position.entry_price, track.rules.entry)
    # Flat by its fills and shown as before: the exchange lags, or it was opened anew as it was.
    opened_anew = view.went_flat.get(position.symbol) == position.amount
    if position.amount == track.amount and not entry_moves and not opened_anew:
        return track
    if _is_another_episode(track, position, view, entry_moves=entry_moves):
        return _adopt(position, view)
    rules = entry_moved(track.rules, position.entry_price) if entry_moves else track.rules
    largest = max(track.largest, abs(position.amount))
    return replace(track, rules=rules, amount=position.amount, largest=largest)


def _is_another_episode(track: Track, position: Position, view: View, *, entry_moves: bool) -> bool:
    """It went through flat unseen: the other side, a new entry without having grown
    (reducing a position leaves its entry price as it is), or by what its fills say."""
    if PositionSide.of(position.amount) is not track.rules.side:
        return True
    if position.symbol in view.went_flat:
        return True
    return entry_moves and abs(position.amount) <= abs(track.amount)


def _differs(price: Decimal, other: Decimal) -> bool:
    """By more than the rounding of an average."""
    return abs(price - other) > other * _SAME_ENTRY


def _adopt(position: Position, view: View) -> Track:
    """A position never seen before. The exchange knows since when it has stood like this."""
    updated_epoch = position.update_time_ms / 1000
    opened = updated_epoch if 0 < updated_epoch < view.now_epoch else view.now_epoch
    side = PositionSide.of(position.amount)
    rules = begin(view.params.for_symbol(position.symbol), side, position.entry_price, opened)
    return Track(
        symbol=position.symbol,
        episode=str(int(view.now_epoch * 1000)),
        rules=rules,
        amount=position.amount,
        largest=abs(position.amount),
    )


def _decide(track: Track, price: Decimal, view: View) -> tuple[Track, int, list[Wish]]:
    seen = Observation(price, view.now_epoch, view.atrs.get(track.symbol))
    rules, decisions = decide(view.params.for_symbol(track.symbol), track.rules, seen)
    if rules is not track.rules:
        track = replace(track, rules=rules)
    wishes: list[Wish] = []
    for decision in decisions:
        track, wish = _ask(track, decision, price, view)
        wishes += wish
    return track, len(decisions), wishes


def _ask(
    track: Track, decision: Decision, price: Decimal, view: View
) -> tuple[Track, Iterable[Wish]]:
    mode = view.mode_of(track.symbol)
    if left_of(track, decision) < _WIRE_PLACES:  # its share became smaller than what was filled
        return replace(track, rules=level_done(track.rules, decision)), ()
    if mode is Mode.LIVE:
        if not may_ask(track, decision, view.now_epoch, view.granted):
            return track, ()
        ask = next_ask(track, decision, view.now_epoch)
        fields = _close_fields(track, decision, ask, price, view)
        return with_ask(track, slot_of(decision), ask), (Wish(mode, fields),)
    if decision.key in track.shadowed:
        return track, ()
    ask = next_ask(track, decision, view.now_epoch)
    fields = _close_fields(track, decision, ask, price, view)
    return replace(track, shadowed=track.shadowed | {decision.key}), (Wish(mode, fields),)


def _close_fields(
    track: Track, decision: Decision, ask: Ask, price: Decimal, view: View
) -> dict[str, str]:
    held = abs(track.amount)
    quantity = left_of(track, decision)
    action = IntentAction.FULL_CLOSE if quantity == held else IntentAction.PARTIAL_CLOSE
    threshold = "" if decision.threshold is None else f" threshold={wire(decision.threshold)}"
    return {
        "intent_id": ask.intent_id,
        "symbol": track.symbol,
        "action": action.value,
        "side": track.rules.side.value,
        # Rounded up: a share that is a hair too small would cost a whole step downstream.
        "qty_fraction": wire(min(Decimal(1), quantity / held), ROUND_UP),
        "quantity": wire(quantity),
        "entry_price": wire(track.rules.entry),
        "mark_price": wire(price),
        "reason": f"{decision.rule.value}: mark={wire(price)}{threshold}",
        "source": view.owner,
        "ts_epoch": format_epoch(view.now_epoch),
    }


def wire(value: Decimal, rounding: str = ROUND_DOWN) -> str:
    """A number as the streams carry it: at most eighteen decimals."""
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -18:
        value = value.quantize(_WIRE_PLACES, rounding)
    return format_number(value)
