"""All of one cycle's thinking, pure: what was seen goes in, what is to be written comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from quantum_exit.brain.asking import CLOSE_SLOT, answered
from quantum_exit.brain.engine import Mode, Step, View, Wish, price_of, step, wire
from quantum_exit.brain.news import (
    Alert,
    failure_alert,
    gap_alert,
    mode_alert,
    policy_alert,
    stop_alert,
    unexplained_alert,
)
from quantum_exit.brain.policy import ParamsInUse
from quantum_exit.brain.protection import covered
from quantum_exit.brain.resting import (
    StopFill,
    StopRequest,
    StopRights,
    StopStep,
    reconciled,
    remembered,
    step_stops,
    without_spent,
)
from quantum_exit.brain.results import PlanResult
from quantum_exit.brain.state import BrainState
from quantum_exit.brain.stops import SymbolStops
from quantum_exit.brain.store import Commit, Reading, changed, gone
from quantum_exit.brain.switches import CurrentMode, control_entry
from quantum_exit.brain.track import AskState, Track
from quantum_exit.brain.watch import Sight, forget, still_held, watch, went_flat
from quantum_exit.brain.world import Seen, StopList
from quantum_exit.messages import IntentAction
from quantum_exit.values import format_epoch

SLACK_S: Final = 2.0
"""A cycle may end this much later than planned before that counts as a time without stops."""


@dataclass(frozen=True, slots=True)
class Inputs:
    now_epoch: float
    seen: Seen
    reading: Reading
    mode: CurrentMode
    params: ParamsInUse
    policy_trouble_said: bool
    atrs: Mapping[str, Decimal]
    stop_list: StopList | None
    """The exchange's own list of resting stops, in the cycles that asked for it."""
    stop_fills: Mapping[str, StopFill]
    """Signed changes of positions that a fired stop of ours explains."""
    owner: str
    cycle_s: float
    exchange_stop: bool


@dataclass(frozen=True, slots=True)
class Thought:
    state: BrainState
    commit: Commit
    step: Step


def think(before: BrainState, inputs: Inputs) -> Thought:
    reading, now_epoch = inputs.reading, inputs.now_epoch
    view = _view(before, inputs)
    done = step(before.tracks, view)
    sight = _sight(inputs)
    kept = _kept(before, sight, view)
    unread = inputs.seen.unreadable
    protection, gaps, added_s = covered(
        before.protection,
        dict.fromkeys((*done.unpriced, *unread), now_epoch)
        | {s: track.rules.opened_epoch for s, track in (kept | dict(done.tracks)).items()},
        unread.union(done.unpriced),
        now_epoch,
        inputs.cycle_s + SLACK_S,
    )
    tracks = _with_unprotected(kept | dict(done.tracks), added_s)
    books, unexplained = watch(
        forget(before.books) if reading.state_lost else before.books,
        sight,
        first=before.first_run,
    )
    stop_steps = _step_all_stops(before, tracks, inputs)
    stops = {s: one.stops for s, one in stop_steps.items() if s in tracks or one.stops.stops}
    after = BrainState(
        tracks=tracks,
        books=books,
        stops=stops,
        protection=protection,
        cursor=reading.cursor,
        mode=inputs.mode.mode.value,
        params_json=inputs.params.json_text,
        first_run=False,
    )
    mode_changed = after.mode != before.mode
    alerts = (
        *(() if before.first_run else (gap_alert(g, unread=g.symbol in unread) for g in gaps)),
        *(failure_alert(failure) for failure in done.failures if failure.is_alarming),
        *(stop_alert(s, one.stops) for s, one in stop_steps.items() if one.alarming),
        *map(unexplained_alert, unexplained),
        *_policy_alerts(inputs),
        *((mode_alert(before.mode, inputs.mode),) if mode_changed and before.mode else ()),
    )
    stop_wishes = tuple(
        _stop_wish(request, inputs) for one in stop_steps.values() for request in one.requests
    )
    commit = _commit(before, after, inputs, (*done.wishes, *stop_wishes), alerts)
    return Thought(after, commit, done)


def _answers(inputs: Inputs) -> tuple[PlanResult, ...]:
    """The results that may answer an intent of ours. Those of others explain changes only."""
    return tuple(r for r in inputs.reading.results if r.source == inputs.owner)


def _kept(before: BrainState, sight: Sight, view: View) -> dict[str, Track]:
    """The tracks of positions that are missing from this one answer without a reason, or that
    cannot be read in it: with them would go what trails, what was taken, and the stops on the
    exchange."""
    held = still_held(before.books, sight) | (sight.unreadable - view.went_flat.keys())
    return {
        symbol: answered(
            track, tuple(r for r in view.results if r.symbol == symbol), sight.now_epoch
        )[0]
        for symbol, track in before.tracks.items()
        if symbol in held
    }


def _view(before: BrainState, inputs: Inputs) -> View:
    fills = ((r.symbol, r.filled) for r in inputs.reading.results if r.filled)
    return View(
        now_epoch=inputs.now_epoch,
        positions=inputs.seen.positions,
        results=_answers(inputs),
        params=inputs.params.params,
        mode_of=inputs.mode.of,
        atrs=inputs.atrs,
        owner=inputs.owner,
        went_flat=went_flat(before.books, fills),
        granted=inputs.reading.granted,
    )


def _sight(inputs: Inputs) -> Sight:
    fills: dict[str, Decimal] = {s: fill.change for s, fill in inputs.stop_fills.items()}
    for result in inputs.reading.results:
        if result.filled:
            fills[result.symbol] = fills.get(result.symbol, Decimal(0)) + result.filled
    return Sight(
        now_epoch=inputs.now_epoch,
        observed={symbol: p.amount for symbol, p in inputs.seen.positions.items()},
        fills=fills,
        granted=inputs.reading.granted or frozenset(),
        unreadable=inputs.seen.unreadable,
    )


def _step_all_stops(
    before: BrainState, tracks: Mapping[str, Track], inputs: Inputs
) -> dict[str, StopStep]:
    stops = without_spent(before.stops, inputs.stop_fills)
    if inputs.stop_list is not None:
        stops = reconciled(stops, inputs.stop_list.orders, inputs.now_epoch)
    for symbol in stops.keys() & (inputs.reading.granted or frozenset()):
        stops[symbol] = remembered(stops[symbol], inputs.now_epoch)
    if not stops and not inputs.exchange_stop:
        return {}
    results: dict[str, list[PlanResult]] = {}
    for result in _answers(inputs):
        results.setdefault(result.symbol, []).append(result)
    return {
        symbol: step_stops(
            symbol,
            stops.get(symbol, SymbolStops()),
            tracks.get(symbol),
            inputs.params.params.for_symbol(symbol),
            tuple(results.get(symbol, ())),
            _rights(symbol, tracks.get(symbol), inputs),
            inputs.now_epoch,
        )
        for symbol in stops.keys() | tracks.keys()
    }


def _rights(symbol: str, track: Track | None, inputs: Inputs) -> StopRights:
    if symbol in inputs.seen.unreadable:
        return StopRights(wanted=False, may_place=False, may_cancel=False, may_sweep=False)
    mode = inputs.mode.of(symbol)
    is_live = mode is Mode.LIVE
    close = track.asks.get(CLOSE_SLOT) if track is not None else None
    is_closing = close is not None and close.state is AskState.IN_FLIGHT
    return StopRights(
        wanted=is_live and inputs.exchange_stop and track is not None,
        may_place=is_live and not is_closing and symbol in inputs.seen.positions,
        may_cancel=is_live,
        may_sweep=is_live or (mode is Mode.KILLED and inputs.mode.can_sign),
    )


def _stop_wish(request: StopRequest, inputs: Inputs) -> Wish:
    """Always for real: where it may not be, it is not asked for."""
    placing = not request.client_id
    fields = {
        "intent_id": request.intent_id,
        "symbol": request.symbol,
        "action": (IntentAction.PLACE_STOP if placing else IntentAction.CANCEL_STOP).value,
        "side": request.side.value,
        "reason": "PROTECTIVE_STOP: rests on the exchange"
        if placing
        else "PROTECTIVE_STOP: no longer needed",
        "source": inputs.owner,
        "ts_epoch": format_epoch(inputs.now_epoch),
    }
    if placing:
        fields["qty_fraction"] = "1"
        fields["quantity"] = wire(request.quantity)
        fields["trigger_price"] = wire(request.trigger)
    if request.entry is not None:
        fields["entry_price"] = wire(request.entry)
    position = inputs.seen.positions.get(request.symbol)
    mark = price_of(position) if position is not None else None
    if mark is not None:
        fields["mark_price"] = wire(mark)
    return Wish(Mode.LIVE, fields)


def _policy_alerts(inputs: Inputs) -> tuple[Alert, ...]:
    """Said when it begins, not in every cycle."""
    trouble = inputs.params.trouble
    return (policy_alert(trouble),) if trouble and not inputs.policy_trouble_said else ()


def _with_unprotected(
    tracks: Mapping[str, Track], added_s: Mapping[str, float]
) -> dict[str, Track]:
    return {
        symbol: replace(track, unprotected_s=track.unprotected_s + added_s[symbol])
        if symbol in added_s
        else track
        for symbol, track in tracks.items()
    }


def _commit(
    before: BrainState,
    after: BrainState,
    inputs: Inputs,
    wishes: tuple[Wish, ...],
    alerts: tuple[Alert, ...],
) -> Commit:
    """Only what changed; everything, where Redis has lost what we wrote."""
    lost = inputs.reading.state_lost
    control: tuple[str, ...] = ()
    if after.mode != before.mode:
        control = (control_entry(before.mode or "none", inputs.mode, inputs.now_epoch),)
    return Commit(
        now_epoch=inputs.now_epoch,
        tracks=after.tracks if lost else changed(before.tracks, after.tracks),
        tracks_gone=gone(before.tracks, after.tracks),
        books=after.books if lost else changed(before.books, after.books),
        books_gone=gone(before.books, after.books),
        stops=after.stops if lost else changed(before.stops, after.stops),
        stops_gone=gone(before.stops, after.stops),
        meta=_meta(None if lost or before.first_run else before, after, inputs.now_epoch),
        wishes=wishes,
        alerts=alerts,
        control=control,
    )


def _meta(before: BrainState | None, after: BrainState, now_epoch: float) -> dict[str, str]:
    new = after.meta()
    old = before.meta() if before else {}
    changes = {name: value for name, value in new.items() if old.get(name) != value}
    return {"last_good_epoch": format_epoch(now_epoch), **changes}
