"""Leverage brackets: how large a position may be, and what margin keeps it alive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class Bracket:
    """Notionals in the quote asset; `cum` is subtracted from the maintenance margin."""

    number: int
    initial_leverage: int
    floor: Decimal
    cap: Decimal
    maint_ratio: Decimal
    cum: Decimal


def _ladder(*steps: tuple[int, int, str]) -> tuple[Bracket, ...]:
    """Brackets from (leverage, cap, maintenance ratio); floors and `cum` follow from these."""
    out: list[Bracket] = []
    floor, cum, previous = Decimal(0), Decimal(0), Decimal(0)
    for number, (leverage, cap, ratio_text) in enumerate(steps, start=1):
        ratio = Decimal(ratio_text)
        cum += floor * (ratio - previous)
        out.append(Bracket(number, leverage, floor, Decimal(cap), ratio, cum))
        floor, previous = Decimal(cap), ratio
    return tuple(out)


LARGE = _ladder(
    (125, 50_000, "0.004"),
    (100, 600_000, "0.005"),
    (50, 10_000_000, "0.01"),
    (20, 70_000_000, "0.025"),
    (10, 150_000_000, "0.05"),
    (5, 300_000_000, "0.1"),
    (1, 1_000_000_000, "0.5"),
)
SMALL = _ladder(
    (75, 5_000, "0.005"),
    (50, 25_000, "0.0065"),
    (25, 400_000, "0.02"),
    (10, 2_000_000, "0.05"),
    (5, 5_000_000, "0.1"),
    (1, 30_000_000, "0.5"),
)


def default_brackets(symbol: str) -> tuple[Bracket, ...]:
    return LARGE if symbol.startswith(("BTC", "ETH")) else SMALL


def brackets_from_json(entries: Sequence[Mapping[str, Any]]) -> tuple[Bracket, ...]:
    """Brackets as `GET /fapi/v1/leverageBracket` lists them, lowest notional first."""
    return tuple(
        Bracket(
            number=int(entry["bracket"]),
            initial_leverage=int(entry["initialLeverage"]),
            floor=Decimal(str(entry["notionalFloor"])),
            cap=Decimal(str(entry["notionalCap"])),
            maint_ratio=Decimal(str(entry["maintMarginRatio"])),
            cum=Decimal(str(entry["cum"])),
        )
        for entry in entries
    )


def max_notional(brackets: Sequence[Bracket], leverage: int) -> Decimal:
    """The largest position that `leverage` allows; 0 when no bracket offers it."""
    return max((b.cap for b in brackets if b.initial_leverage >= leverage), default=Decimal(0))


def bracket_of(brackets: Sequence[Bracket], notional: Decimal) -> Bracket:
    for bracket in brackets:
        if notional <= bracket.cap:
            return bracket
    return brackets[-1]


def maintenance_margin(brackets: Sequence[Bracket], notional: Decimal) -> Decimal:
    """`notional` without sign."""
    bracket = bracket_of(brackets, notional)
    return max(notional * bracket.maint_ratio - bracket.cum, Decimal(0))
