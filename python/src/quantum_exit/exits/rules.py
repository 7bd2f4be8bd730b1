"""The exit rules: from what was seen of a price, whether a position is to be closed.

Every rule reads the prices it has seen and nothing else, so for the same prices the exits
are the same however often they were looked at. The stop only ever tightens: for a LONG it
never falls, for a SHORT it never rises, whatever the parameters become on the way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Final

from quantum_exit.exits.params import ExitParams, TakeProfit
from quantum_exit.values import PositionSide, format_number

_HUNDRED: Final = Decimal(100)
_ONE: Final = Decimal(1)


class Rule(StrEnum):
    STOP_LOSS = "STOP_LOSS"
    ATR_STOP = "ATR_STOP"
    BREAK_EVEN = "BREAK_EVEN"
    TRAILING_STOP = "TRAILING_STOP"
    TAKE_PROFIT = "TAKE_PROFIT"
    TIME_LIMIT = "TIME_LIMIT"


@dataclass(frozen=True, slots=True)
class RuleState:
    """What one position's rules remember. Prices are mark prices."""

    side: PositionSide
    entry: Decimal
    opened_epoch: float
    highest: Decimal
    lowest: Decimal
    stop: Decimal
    stop_rule: Rule
    """Which rule put the stop where it is."""
    atr: Decimal | None = None
    """The average true range as it was first known; the ATR stop does not follow it."""
    levels_taken: frozenset[Decimal] = frozenset()
    """Take-profit levels that are done, by their percentage."""
    fraction_taken: Decimal = Decimal(0)
    closing: Rule | None = None
    """Set once a full close was filled in part: it is finished even if the price turns."""


@dataclass(frozen=True, slots=True)
class Observation:
    price: Decimal
    at_epoch: float
    atr: Decimal | None = None
    """In price units; None while it is not known."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Close `fraction` of the position's largest size; 1 is all that is left of it."""

    rule: Rule
    fraction: Decimal
    threshold: Decimal | None
    """The price that was crossed; None for the time limit."""
    level_pct: Decimal | None = None
    """The take-profit level; None for every other rule."""

    @property
    def is_full(self) -> bool:
        return self.fraction == _ONE

    @property
    def key(self) -> str:
        """One reason, one key: `stop` for whatever put the stop there, `tp3`, `rest`, `time`."""
        if self.rule is Rule.TAKE_PROFIT and self.level_pct is not None:
            return f"tp{format_number(self.level_pct)}"
        if self.rule is Rule.TAKE_PROFIT:
            return "rest"
        return "time" if self.rule is Rule.TIME_LIMIT else "stop"


def begin(params: ExitParams, side: PositionSide, entry: Decimal, opened_epoch: float) -> RuleState:
    """A position's first state: its stop is there at once. Raises ValueError for FLAT."""
    if side is PositionSide.FLAT:
        raise ValueError("a flat position has no exit rules")
    return RuleState(
        side=side,
        entry=entry,
        opened_epoch=opened_epoch,
        highest=entry,
        lowest=entry,
        stop=_at_profit(entry, side, -params.stop_loss_pct),
        stop_rule=Rule.STOP_LOSS,
    )


def entry_moved(state: RuleState, entry: Decimal) -> RuleState:
    """The position grew and its average entry moved. The stop stays; the best price counts
    anew, or what was a profit by the old average would be one that this position never had."""
    return replace(state, entry=entry, highest=entry, lowest=entry)


def decide(
    params: ExitParams, state: RuleState, seen: Observation
) -> tuple[RuleState, tuple[Decision, ...]]:
    """What the rules remember after this price, and which exits they ask for at it.

    Either one full close, or one partial close for each take-profit level that is reached
    and not taken. A decision is repeated for as long as its reason holds; the caller says
    by `level_done` what has been carried out.
    """
    state = _tightened(params, _remember(state, seen))
    full = _full_close(params, state, seen)
    return state, (full,) if full else _take_profits(params, state, seen.price)


def level_done(state: RuleState, decision: Decision) -> RuleState:
    """A take-profit level is done: filled, or impossible because it rounds to nothing."""
    if decision.level_pct is None or decision.level_pct in state.levels_taken:
        return state
    return replace(
        state,
        levels_taken=state.levels_taken | {decision.level_pct},
        fraction_taken=min(_ONE, state.fraction_taken + decision.fraction),
    )


def full_close_begun(state: RuleState, rule: Rule) -> RuleState:
    return replace(state, closing=rule)


def next_target(params: ExitParams, state: RuleState) -> Decimal | None:
    """The price of the next take-profit level; None when none is left or the rule is off."""
    for level in params.take_profits:
        if level.pct not in state.levels_taken:
            return _at_profit(state.entry, state.side, level.pct)
    return None


def average_true_range(
    klines: Iterable[tuple[Decimal, Decimal, Decimal]], period: int
) -> Decimal | None:
    """The mean true range of the last `period` klines, in price units.

    `klines`: (high, low, close) of closed klines, oldest first. None when they are too few:
    one more than `period` is needed, for the close before the first range.
    """
    ranges: list[Decimal] = []
    close_before: Decimal | None = None
    for high, low, close in klines:
        if close_before is not None:
            ranges.append(max(high, close_before) - min(low, close_before))
        close_before = close
    if len(ranges) < period:
        return None
    return sum(ranges[-period:], Decimal(0)) / period


def _sign(side: PositionSide) -> int:
    return 1 if side is PositionSide.LONG else -1


def _at_profit(entry: Decimal, side: PositionSide, pct: Decimal) -> Decimal:
    """The price at which a position entered at `entry` has gained `pct` percent."""
    return entry * (_HUNDRED + _sign(side) * pct) / _HUNDRED


def _best(state: RuleState) -> Decimal:
    return state.highest if state.side is PositionSide.LONG else state.lowest


def _reached(state: RuleState, price: Decimal, target: Decimal) -> bool:
    """`price` is at `target` or better, for this side."""
    return _sign(state.side) * (price - target) >= 0


def _remember(state: RuleState, seen: Observation) -> RuleState:
    atr = seen.atr if state.atr is None and seen.atr else state.atr
    if atr is state.atr and state.lowest <= seen.price <= state.highest:
        return state
    return replace(
        state,
        highest=max(state.highest, seen.price),
        lowest=min(state.lowest, seen.price),
        atr=atr,
    )


def _tightened(params: ExitParams, state: RuleState) -> RuleState:
    stop, rule = state.stop, state.stop_rule
    sign = _sign(state.side)
    for candidate, its_rule in _stop_candidates(params, state):
        if sign * (candidate - stop) > 0:
            stop, rule = candidate, its_rule
    return state if stop == state.stop else replace(state, stop=stop, stop_rule=rule)


def _stop_candidates(params: ExitParams, state: RuleState) -> list[tuple[Decimal, Rule]]:
    side, entry = state.side, state.entry
    found = [(_at_profit(entry, side, -params.stop_loss_pct), Rule.STOP_LOSS)]
    if params.stop_loss_atr_multiple is not None and state.atr is not None:
        distance = params.stop_loss_atr_multiple * state.atr
        found.append((entry - _sign(side) * distance, Rule.ATR_STOP))
    best = _best(state)
    at_pct = params.break_even_at_pct
    if at_pct is not None and _reached(state, best, _at_profit(entry, side, at_pct)):
        found.append((entry, Rule.BREAK_EVEN))
    start, distance_pct = params.trailing_start_pct, params.trailing_distance_pct
    if (
        start is not None
        and distance_pct is not None
        and _reached(state, best, _at_profit(entry, side, start))
    ):
        found.append((_at_profit(best, side, -distance_pct), Rule.TRAILING_STOP))
    return found


def _full_close(params: ExitParams, state: RuleState, seen: Observation) -> Decision | None:
    if _sign(state.side) * (seen.price - state.stop) <= 0:
        return Decision(state.stop_rule, _ONE, state.stop)
    if state.closing is not None:
        return Decision(state.closing, _ONE, None)
    if params.max_hold_s is not None and seen.at_epoch - state.opened_epoch >= params.max_hold_s:
        return Decision(Rule.TIME_LIMIT, _ONE, None)
    return None


def _take_profits(params: ExitParams, state: RuleState, price: Decimal) -> tuple[Decision, ...]:
    decisions: list[Decision] = []
    left = _ONE - state.fraction_taken
    for level in params.take_profits:
        if level.pct in state.levels_taken:
            continue
        target = _at_profit(state.entry, state.side, level.pct)
        if left <= 0 or not _reached(state, price, target):
            break
        fraction = min(level.fraction, left)
        left -= fraction
        if left == 0:
            # The last of it: all that is left goes, so that rounding leaves no dust behind.
            return (_last_level(level, target),)
        decisions.append(Decision(Rule.TAKE_PROFIT, fraction, target, level.pct))
    return tuple(decisions)


def _last_level(level: TakeProfit, target: Decimal) -> Decision:
    return Decision(Rule.TAKE_PROFIT, _ONE, target, level.pct)
