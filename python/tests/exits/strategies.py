"""What the property tests draw from: parameters, sides, and price paths around an entry."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from hypothesis import strategies as st

from quantum_exit.exits.params import ExitParams, TakeProfit
from quantum_exit.exits.rules import (
    Decision,
    Observation,
    RuleState,
    begin,
    decide,
    level_done,
)
from quantum_exit.values import PositionSide

ENTRY = Decimal(100)

sides = st.sampled_from([PositionSide.LONG, PositionSide.SHORT])
percents = st.decimals("0.1", "20", places=1)
prices = st.decimals("60", "140", places=2)
paths = st.lists(prices, min_size=1, max_size=40)


@st.composite
def take_profits(draw: st.DrawFn) -> tuple[TakeProfit, ...]:
    pcts = sorted(draw(st.sets(percents, max_size=4)))
    tenths = draw(st.lists(st.integers(1, 4), min_size=len(pcts), max_size=len(pcts)))
    levels: list[TakeProfit] = []
    for pct, tenth in zip(pcts, tenths, strict=True):
        fraction = Decimal(tenth) / 10
        if sum(level.fraction for level in levels) + fraction <= 1:
            levels.append(TakeProfit(pct, fraction))
    return tuple(levels)


@st.composite
def exit_params(draw: st.DrawFn) -> ExitParams:
    trailing = draw(st.none() | st.tuples(percents, percents))
    return ExitParams(
        stop_loss_pct=draw(percents),
        stop_loss_atr_multiple=draw(st.none() | st.decimals("0.5", "5", places=1)),
        take_profits=draw(take_profits()),
        break_even_at_pct=draw(st.none() | percents),
        trailing_start_pct=trailing[0] if trailing else None,
        trailing_distance_pct=trailing[1] if trailing else None,
        max_hold_s=draw(st.none() | st.integers(1, 60).map(Decimal)),
    )


@dataclass(frozen=True)
class Exit:
    at: int
    """Index of the observation."""
    decision: Decision


def observations(path: Sequence[Decimal], atr: Decimal | None = None) -> list[Observation]:
    """One price a second from second 0, when the position was opened."""
    return [Observation(price, float(second), atr) for second, price in enumerate(path)]


def states(
    params: ExitParams, side: PositionSide, seen: Sequence[Observation]
) -> Iterator[RuleState]:
    state = begin(params, side, ENTRY, 0.0)
    for observation in seen:
        state, _ = decide(params, state, observation)
        yield state


def run(params: ExitParams, side: PositionSide, seen: Sequence[Observation]) -> list[Exit]:
    """All exits when each is carried out at once; ends with the first full close."""
    state = begin(params, side, ENTRY, 0.0)
    exits: list[Exit] = []
    for index, observation in enumerate(seen):
        state, decisions = decide(params, state, observation)
        for decision in decisions:
            exits.append(Exit(index, decision))
            if decision.is_full:
                return exits
            state = level_done(state, decision)
    return exits
