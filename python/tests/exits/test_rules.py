"""What the exit rules promise, for every parameter and every path of prices."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_exit.exits.params import ExitParams, TakeProfit
from quantum_exit.exits.rules import (
    Observation,
    Rule,
    average_true_range,
    begin,
    decide,
    entry_moved,
    full_close_begun,
    level_done,
)
from quantum_exit.values import PositionSide

from .strategies import (
    ENTRY,
    exit_params,
    observations,
    paths,
    percents,
    prices,
    run,
    sides,
    states,
)

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
atrs = st.none() | st.decimals("0.1", "10", places=2)


def _better(side: PositionSide, a: Decimal, b: Decimal) -> bool:
    """`a` is at least as good a stop as `b`."""
    return a >= b if side is LONG else a <= b


@given(exit_params(), sides, paths, atrs)
def test_a_stop_never_loosens(
    params: ExitParams, side: PositionSide, path: list[Decimal], atr: Decimal | None
) -> None:
    stops = [begin(params, side, ENTRY, 0.0).stop]
    stops += [state.stop for state in states(params, side, observations(path, atr))]
    assert all(_better(side, later, earlier) for earlier, later in pairwise(stops))


@given(st.lists(st.tuples(exit_params(), prices, prices), min_size=1, max_size=20), sides)
def test_a_stop_never_loosens_when_parameters_or_the_entry_change(
    steps: list[tuple[ExitParams, Decimal, Decimal]], side: PositionSide
) -> None:
    state = begin(steps[0][0], side, ENTRY, 0.0)
    for params, entry, price in steps:
        before = state.stop
        state, _ = decide(params, entry_moved(state, entry), Observation(price, 1.0))
        assert _better(side, state.stop, before)


@given(percents, sides, paths)
def test_the_fixed_stop_exits_at_the_first_seen_price_that_crosses(
    pct: Decimal, side: PositionSide, path: list[Decimal]
) -> None:
    params = ExitParams(stop_loss_pct=pct)
    distance = ENTRY * pct / 100
    if side is LONG:
        crossing = [i for i, price in enumerate(path) if price <= ENTRY - distance]
    else:
        crossing = [i for i, price in enumerate(path) if price >= ENTRY + distance]
    exits = run(params, side, observations(path))
    assert [e.at for e in exits] == crossing[:1]
    assert all(e.decision.rule is Rule.STOP_LOSS and e.decision.is_full for e in exits)


@given(percents, sides, paths)
def test_a_take_profit_is_asked_for_at_the_first_seen_price_that_reaches_it(
    pct: Decimal, side: PositionSide, path: list[Decimal]
) -> None:
    level = TakeProfit(pct, Decimal("0.5"))
    params = ExitParams(stop_loss_pct=Decimal(99), take_profits=(level,))
    gain = ENTRY * pct / 100
    if side is LONG:
        reached = [i for i, price in enumerate(path) if price >= ENTRY + gain]
    else:
        reached = [i for i, price in enumerate(path) if price <= ENTRY - gain]
    assert [e.at for e in run(params, side, observations(path))] == reached[:1]


@given(percents, percents, sides, paths)
def test_the_trailing_stop_follows_the_best_price_once_it_has_started(
    start: Decimal, distance: Decimal, side: PositionSide, path: list[Decimal]
) -> None:
    params = ExitParams(
        stop_loss_pct=Decimal(99), trailing_start_pct=start, trailing_distance_pct=distance
    )
    sign = 1 if side is LONG else -1
    expected: list[int] = []
    best = ENTRY
    for index, price in enumerate(path):
        best = max(best, price) if side is LONG else min(best, price)
        started = sign * (best - ENTRY) >= ENTRY * start / 100
        if started and sign * (price - best * (100 - sign * distance) / 100) <= 0:
            expected = [index]
            break
    assert [e.at for e in run(params, side, observations(path))] == expected


@given(exit_params(), paths, atrs)
def test_short_is_the_mirror_of_long(
    params: ExitParams, path: list[Decimal], atr: Decimal | None
) -> None:
    # The trailing distance is a share of the best price, which a mirror does not keep.
    params = replace(params, trailing_start_pct=None, trailing_distance_pct=None)
    mirrored = [2 * ENTRY - price for price in path]
    longs = run(params, LONG, observations(path, atr))
    shorts = run(params, SHORT, observations(mirrored, atr))
    assert [(e.at, e.decision.rule, e.decision.fraction) for e in longs] == [
        (e.at, e.decision.rule, e.decision.fraction) for e in shorts
    ]


@given(exit_params(), sides, paths)
def test_fractions_never_sum_over_one(
    params: ExitParams, side: PositionSide, path: list[Decimal]
) -> None:
    exits = run(params, side, observations(path))
    partial = sum((e.decision.fraction for e in exits if not e.decision.is_full), Decimal(0))
    assert partial < 1
    assert len([e for e in exits if e.decision.is_full]) <= 1


@given(st.lists(st.tuples(exit_params(), prices), min_size=1, max_size=20), sides)
def test_fractions_never_sum_over_one_when_the_levels_change_on_the_way(
    steps: list[tuple[ExitParams, Decimal]], side: PositionSide
) -> None:
    state = begin(steps[0][0], side, ENTRY, 0.0)
    partial = Decimal(0)
    for params, price in steps:
        state, decisions = decide(params, state, Observation(price, 1.0))
        for decision in decisions:
            if decision.is_full:
                return
            partial += decision.fraction
            assert partial < 1
            state = level_done(state, decision)


@given(exit_params(), sides, paths, st.lists(st.integers(1, 4), min_size=40, max_size=40), atrs)
def test_looking_more_often_at_the_same_prices_changes_nothing(
    params: ExitParams,
    side: PositionSide,
    path: list[Decimal],
    looks: Sequence[int],
    atr: Decimal | None,
) -> None:
    """A shorter cycle sees a price several times within its second."""
    once = observations(path, atr)
    often = [
        replace(seen, at_epoch=seen.at_epoch + look / 10)
        for seen, times in zip(once, looks, strict=False)
        for look in range(times)
    ]
    assert _by_second(params, side, once) == _by_second(params, side, often)


@given(exit_params(), sides, paths, st.integers(2, 5))
def test_seeing_more_prices_never_closes_later(
    params: ExitParams, side: PositionSide, path: list[Decimal], every: int
) -> None:
    fine = observations(path)
    coarse = fine[::every]
    coarse_end = [e for e in run(params, side, coarse) if e.decision.rule is not Rule.TAKE_PROFIT]
    fine_full = [e for e in run(params, side, fine) if e.decision.is_full]
    if coarse_end:
        assert fine_full
        assert fine_full[-1].at <= coarse_end[0].at * every


def _by_second(
    params: ExitParams, side: PositionSide, seen: Sequence[Observation]
) -> list[tuple[int, Rule, Decimal, Decimal | None]]:
    return [
        (int(seen[e.at].at_epoch), e.decision.rule, e.decision.fraction, e.decision.threshold)
        for e in run(params, side, seen)
    ]


def test_break_even_moves_the_stop_to_the_entry() -> None:
    params = ExitParams(stop_loss_pct=Decimal(2), break_even_at_pct=Decimal("1.5"))
    path = [Decimal(t) for t in ("101.49", "99", "101.50", "100.01", "100")]
    (only,) = run(params, LONG, observations(path))
    assert (only.at, only.decision.rule, only.decision.threshold) == (4, Rule.BREAK_EVEN, ENTRY)


def test_the_atr_stop_is_never_wider_than_the_fixed_one_and_stays_where_it_was_put() -> None:
    params = ExitParams(stop_loss_pct=Decimal(2), stop_loss_atr_multiple=Decimal(2))
    narrow, wide = Decimal("0.5"), Decimal(5)
    state = begin(params, LONG, ENTRY, 0.0)
    assert state.stop == 98
    state, _ = decide(params, state, Observation(ENTRY, 1.0, narrow))
    assert (state.stop, state.stop_rule) == (99, Rule.ATR_STOP)
    state, _ = decide(params, state, Observation(ENTRY, 2.0, Decimal("0.1")))
    assert state.stop == 99
    other, _ = decide(params, begin(params, LONG, ENTRY, 0.0), Observation(ENTRY, 1.0, wide))
    assert other.stop == 98


def test_the_time_limit_closes_all_of_it() -> None:
    params = ExitParams(stop_loss_pct=Decimal(2), max_hold_s=Decimal(3))
    (only,) = run(params, SHORT, observations([ENTRY] * 6))
    assert (only.at, only.decision.rule, only.decision.fraction) == (3, Rule.TIME_LIMIT, 1)


def test_two_levels_reached_at_once_are_two_exits() -> None:
    levels = (TakeProfit(Decimal(1), Decimal("0.3")), TakeProfit(Decimal(2), Decimal("0.3")))
    params = ExitParams(stop_loss_pct=Decimal(2), take_profits=levels)
    exits = run(params, LONG, observations([Decimal(103)]))
    assert [e.decision.key for e in exits] == ["tp1", "tp2"]


def test_the_last_level_takes_all_that_is_left() -> None:
    levels = (TakeProfit(Decimal(1), Decimal("0.3")), TakeProfit(Decimal(2), Decimal("0.7")))
    params = ExitParams(stop_loss_pct=Decimal(2), take_profits=levels)
    exits = run(params, LONG, observations([Decimal(101), Decimal(102)]))
    assert [(e.decision.key, e.decision.is_full) for e in exits] == [("tp1", False), ("tp2", True)]


def test_levels_that_change_on_the_way_close_no_more_than_is_left() -> None:
    first = ExitParams(Decimal(2), take_profits=(TakeProfit(Decimal(1), Decimal("0.7")),))
    then = ExitParams(Decimal(2), take_profits=(TakeProfit(Decimal(2), Decimal("0.6")),))
    state = begin(first, LONG, ENTRY, 0.0)
    state, (decision,) = decide(first, state, Observation(Decimal(103), 1.0))
    state = level_done(state, decision)
    state, (rest,) = decide(then, state, Observation(Decimal(103), 2.0))
    assert rest.is_full


def test_an_exit_is_asked_for_while_its_reason_holds_and_no_longer() -> None:
    params = ExitParams(stop_loss_pct=Decimal(2))
    state = begin(params, LONG, ENTRY, 0.0)
    state, at_stop = decide(params, state, Observation(Decimal(98), 1.0))
    state, still = decide(params, state, Observation(Decimal(97), 2.0))
    state, above = decide(params, state, Observation(Decimal("98.01"), 3.0))
    assert (len(at_stop), len(still), len(above)) == (1, 1, 0)


def test_a_close_that_was_filled_in_part_is_finished_even_if_the_price_turns() -> None:
    params = ExitParams(stop_loss_pct=Decimal(2))
    state = full_close_begun(begin(params, LONG, ENTRY, 0.0), Rule.STOP_LOSS)
    _, decisions = decide(params, state, Observation(Decimal(105), 1.0))
    assert [(d.rule, d.is_full) for d in decisions] == [(Rule.STOP_LOSS, True)]


def test_a_flat_position_has_no_rules() -> None:
    with pytest.raises(ValueError, match="flat"):
        begin(ExitParams(stop_loss_pct=Decimal(2)), PositionSide.FLAT, ENTRY, 0.0)


def test_the_true_range_spans_the_gap_from_the_close_before() -> None:
    klines = [
        (Decimal(10), Decimal(9), Decimal(9)),
        (Decimal(12), Decimal(11), Decimal(11)),  # 12 - 9
        (Decimal(11), Decimal(10), Decimal(10)),  # 11 - 10
    ]
    assert average_true_range(klines, 2) == 2
    assert average_true_range(klines, 3) is None
