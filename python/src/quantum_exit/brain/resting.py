"""The stops that rest on the exchange itself and hold when we are gone: which must be there.

Each LIVE position has one, further away than the brain's own stop. It is moved by placing
the new one first and cancelling the old one once the new one rests, and swept when the
position is gone. Orders are the executor's; here are only the intents to place and cancel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from quantum_exit.binance.model import AlgoAck
from quantum_exit.brain.asking import ANSWER_GRACE_S, INTENT_LIFETIME_S, PAUSES_S
from quantum_exit.brain.results import PlanResult
from quantum_exit.brain.stops import RestingStop, StopState, SymbolStops
from quantum_exit.brain.track import Track
from quantum_exit.exits.params import ExitParams
from quantum_exit.values import PositionSide

CLIENT_ID_PREFIX: Final = "qs-"
MOVE_SHARE: Final = Decimal("0.5")
"""A stop moves once it would move by this share of its margin: not with every tick."""
UNSEEN_KEPT_S: Final = 60.0
NEVER_FIRES: Final = (
    "its trigger would not lie above zero and could never fire: stop_loss_pct and "
    "exchange_stop_margin_pct come to 100 % or more"
)
_HUNDRED: Final = Decimal(100)
_GONE_ERRORS: Final = ("binance_error:-2011", "binance_error:-2013")
_FIRED: Final = frozenset({"TRIGGERING", "TRIGGERED", "FINISHED"})


@dataclass(frozen=True, slots=True)
class StopRequest:
    """An intent to place (`client_id` empty) or to cancel a stop."""

    intent_id: str
    symbol: str
    side: PositionSide
    quantity: Decimal
    trigger: Decimal
    entry: Decimal | None
    client_id: str = ""


@dataclass(frozen=True, slots=True)
class StopRights:
    """What may be done for one symbol: by its mode, the kill switch and the setting."""

    wanted: bool
    """The setting is on, the symbol LIVE, and it has a position."""
    may_place: bool
    """Not while the position is being closed."""
    may_cancel: bool
    """LIVE."""
    may_sweep: bool
    """LIVE or killed: stops of a flat symbol may always be cancelled."""


@dataclass(frozen=True, slots=True)
class StopStep:
    stops: SymbolStops
    requests: tuple[StopRequest, ...] = ()
    alarming: bool = False
    """The third placement in a row was refused, or none is possible."""


@dataclass(frozen=True, slots=True)
class StopFill:
    """A change of a position that a fired stop of ours explains. It fires once, and so
    explains once."""

    client_id: str
    change: Decimal


def without_spent(
    before: Mapping[str, SymbolStops], spent: Mapping[str, StopFill]
) -> dict[str, SymbolStops]:
    """`before` without the stops that have explained a change. `spent` is by symbol."""
    after = dict(before)
    for symbol, fill in spent.items():
        entry = before[symbol]
        left = tuple(stop for stop in entry.stops if stop.client_id != fill.client_id)
        after[symbol] = replace(entry, stops=left)
    return after


def client_id_of(intent_id: str) -> str:
    """The executor gives the stop this id, so that both sides can name it."""
    return CLIENT_ID_PREFIX + hashlib.sha256(intent_id.encode()).hexdigest()[:30]


def target_trigger(params: ExitParams, track: Track) -> Decimal:
    """Further away than the rules' own stop, by the margin; for a LONG it may not be above zero."""
    rules = track.rules
    distance = rules.entry * params.exchange_stop_margin_pct / _HUNDRED
    return rules.stop - distance if rules.side is PositionSide.LONG else rules.stop + distance


def step_stops(
    symbol: str,
    before: SymbolStops,
    track: Track | None,
    params: ExitParams,
    results: tuple[PlanResult, ...],
    rights: StopRights,
    now_epoch: float,
) -> StopStep:
    """One symbol's stops in one cycle. `track` is None when the symbol is flat."""
    stops, alarming = _answered(before, results, now_epoch)
    if track is not None and stops.episode != track.episode:
        stops = replace(
            stops, episode=track.episode, placed=0, failures=0, not_before_epoch=0.0, error=""
        )
    kept = _keep(stops, track, params) if track is not None and rights.wanted else None
    requests: list[StopRequest] = []
    placing = track is not None and rights.wanted and rights.may_place
    if track is not None and rights.wanted and target_trigger(params, track) <= 0:
        # Said once an episode. Without a resting stop the symbol counts as lacking one.
        alarming = alarming or stops.error != NEVER_FIRES
        stops, placing = replace(stops, error=NEVER_FIRES), False
    if track is not None and placing and _must_place(stops, kept, track, params, now_epoch):
        stops, request = _place(symbol, stops, track, params, now_epoch)
        requests.append(request)
    if rights.may_cancel if track is not None else rights.may_sweep:
        stops, cancels = _cancel(symbol, stops, kept, now_epoch)
        requests += cancels
    return StopStep(stops, tuple(requests), alarming)


def reconciled(
    before: Mapping[str, SymbolStops], listed: Iterable[AlgoAck], now_epoch: float
) -> dict[str, SymbolStops]:
    """`before` as the exchange's own list has it: what rests no longer is not counted on, and
    what rests there under a name of ours is taken on."""
    ours = {ack.client_algo_id: ack for ack in listed if _is_ours(ack)}
    after: dict[str, SymbolStops] = {}
    known: set[str] = set()
    for symbol, entry in before.items():
        known |= {stop.client_id for stop in entry.stops}
        left = tuple(
            _unseen(stop, now_epoch)
            if stop.state is StopState.RESTING and stop.client_id not in ours
            else stop
            for stop in entry.stops
        )
        after[symbol] = entry if left == entry.stops else replace(entry, stops=left)
    for client_id, ack in ours.items():
        if client_id in known:
            continue
        entry = after.get(ack.symbol, SymbolStops())
        found = RestingStop(
            client_id=client_id,
            side=PositionSide.LONG if ack.side == "SELL" else PositionSide.SHORT,
            trigger=ack.trigger_price,
            quantity=ack.quantity,
            state=StopState.RESTING,
            intent_id="",
            sent_epoch=now_epoch,
        )
        after[ack.symbol] = replace(entry, stops=(*entry.stops, found))
    return after


def remembered(entry: SymbolStops, now_epoch: float) -> SymbolStops:
    """`entry` where an order may be on its way: what a stop did shows only once that order has
    ended, so none is forgotten before."""
    stops = tuple(
        _unseen(stop, now_epoch) if stop.state is StopState.UNSEEN else stop for stop in entry.stops
    )
    return replace(entry, stops=stops)


def has_fired(ack: AlgoAck) -> bool:
    return ack.status in _FIRED or bool(ack.actual_order_id)


def _unseen(stop: RestingStop, now_epoch: float) -> RestingStop:
    return replace(stop, state=StopState.UNSEEN, sent_epoch=now_epoch)


def _is_ours(ack: AlgoAck) -> bool:
    return ack.client_algo_id.startswith(CLIENT_ID_PREFIX) and ack.reduce_only


def _answered(
    before: SymbolStops, results: tuple[PlanResult, ...], now_epoch: float
) -> tuple[SymbolStops, bool]:
    after = before
    alarming = False
    left: list[RestingStop] = []
    for stop in before.stops:
        if stop.state is StopState.PLACING:
            kept, error = _placed(stop, results, now_epoch)
            if error:
                failures = after.failures + 1
                pause_s = PAUSES_S[min(failures, len(PAUSES_S)) - 1]
                after = replace(
                    after,
                    failures=failures,
                    not_before_epoch=now_epoch + pause_s,
                    error=error[:200],
                )
                alarming = alarming or failures == 3
            elif kept is not None and kept.state is StopState.RESTING:
                after = replace(after, failures=0, error="")
        elif stop.state is StopState.CANCELLING:
            kept = _cancelled(stop, results, now_epoch)
        elif stop.state is StopState.UNSEEN and now_epoch - stop.sent_epoch > UNSEEN_KEPT_S:
            kept = None
        else:
            kept = stop
        if kept is not None:
            left.append(kept)
    stops = tuple(left)
    return (after if stops == before.stops else replace(after, stops=stops)), alarming


def _placed(
    stop: RestingStop, results: tuple[PlanResult, ...], now_epoch: float
) -> tuple[RestingStop | None, str]:
    """The stop as its placement's result leaves it, and the error if it was refused."""
    result = next((r for r in results if r.answers(stop.intent_id)), None)
    if result is None:
        if now_epoch - stop.sent_epoch <= INTENT_LIFETIME_S + ANSWER_GRACE_S:
            return stop, ""
        # Nobody said what became of it. It may rest: it is cancelled to be sure.
        return replace(stop, state=StopState.UNWANTED), "no result within its lifetime"
    if result.decision == "EXECUTED":
        return replace(stop, state=StopState.RESTING), ""
    return None, result.error or result.decision or "refused"


def _cancelled(
    stop: RestingStop, results: tuple[PlanResult, ...], now_epoch: float
) -> RestingStop | None:
    result = next((r for r in results if r.answers(stop.intent_id)), None)
    if result is not None and result.decision == "EXECUTED":
        return None
    if result is not None and result.error.startswith(_GONE_ERRORS):
        return _unseen(stop, now_epoch)  # it has fired, or somebody was faster
    overdue = now_epoch - stop.sent_epoch > INTENT_LIFETIME_S + ANSWER_GRACE_S
    if result is None and not overdue:
        return stop
    pause_s = PAUSES_S[min(stop.cancels, len(PAUSES_S)) - 1]
    return replace(stop, state=StopState.UNWANTED, not_before_epoch=now_epoch + pause_s)


def _keep(stops: SymbolStops, track: Track, params: ExitParams) -> RestingStop | None:
    """The resting stop that serves this position best: large enough, then tightest."""
    side = track.rules.side
    mine = [stop for stop in stops.resting if stop.side is side]
    sign = 1 if side is PositionSide.LONG else -1
    limit = sign * target_trigger(params, track)

    def worth(stop: RestingStop) -> tuple[bool, bool, Decimal]:
        # One that is tighter than it should be would fire before the brain's own stop.
        return (
            stop.quantity >= abs(track.amount),
            sign * stop.trigger <= limit,
            sign * stop.trigger,
        )

    return max(mine, key=worth, default=None)


def _must_place(
    stops: SymbolStops,
    kept: RestingStop | None,
    track: Track,
    params: ExitParams,
    now_epoch: float,
) -> bool:
    if now_epoch < stops.not_before_epoch:
        return False
    if any(stop.state is StopState.PLACING for stop in stops.stops):
        return False
    if kept is None or kept.quantity < abs(track.amount):
        return True
    margin = track.rules.entry * params.exchange_stop_margin_pct / _HUNDRED
    return abs(target_trigger(params, track) - kept.trigger) >= margin * MOVE_SHARE


def _place(
    symbol: str, stops: SymbolStops, track: Track, params: ExitParams, now_epoch: float
) -> tuple[SymbolStops, StopRequest]:
    number = stops.placed + 1
    intent_id = f"{symbol}-{track.episode}-xstop-{number}"
    trigger = target_trigger(params, track)
    stop = RestingStop(
        client_id=client_id_of(intent_id),
        side=track.rules.side,
        trigger=trigger,
        quantity=abs(track.amount),
        state=StopState.PLACING,
        intent_id=intent_id,
        sent_epoch=now_epoch,
    )
    request = StopRequest(
        intent_id=intent_id,
        symbol=symbol,
        side=stop.side,
        quantity=stop.quantity,
        trigger=trigger,
        entry=track.rules.entry,
    )
    return replace(stops, stops=(*stops.stops, stop), placed=number), request


def _cancel(
    symbol: str, stops: SymbolStops, kept: RestingStop | None, now_epoch: float
) -> tuple[SymbolStops, list[StopRequest]]:
    """All but the kept one, which stays until a better one rests: make before break."""
    requests: list[StopRequest] = []
    after: list[RestingStop] = []
    for stop in stops.stops:
        surplus = stop.state is StopState.RESTING and stop is not kept
        unwanted = stop.state is StopState.UNWANTED and now_epoch >= stop.not_before_epoch
        if not surplus and not unwanted:
            after.append(stop)
            continue
        cancels = stop.cancels + 1
        intent_id = f"cancel:{stop.client_id}:{cancels}"
        after.append(
            replace(
                stop,
                state=StopState.CANCELLING,
                cancels=cancels,
                intent_id=intent_id,
                sent_epoch=now_epoch,
            )
        )
        requests.append(
            StopRequest(
                intent_id=intent_id,
                symbol=symbol,
                side=stop.side,
                quantity=stop.quantity,
                trigger=stop.trigger,
                entry=None,
                client_id=stop.client_id,
            )
        )
    return replace(stops, stops=tuple(after)) if requests else stops, requests
