"""How long open positions were without a working stop in the brain: measured, and said.

A stop works in a cycle that saw the position and its price and could write down what
follows. Between two such cycles no more than a few cycles' time may pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

ALERT_AFTER_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which a position had no working stop. Over when `ended`."""

    symbol: str
    seconds: float
    ended: bool


@dataclass(frozen=True, slots=True)
class Protection:
    """`covered_epoch`: by symbol, when its stop last worked."""

    covered_epoch: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    alerted: frozenset[str] = frozenset()
    total_s: float = 0.0
    """Of all positions, since the state was begun."""


def covered(
    before: Protection,
    open_since: Mapping[str, float],
    unpriced: frozenset[str],
    now_epoch: float,
    allowed_gap_s: float,
) -> tuple[Protection, tuple[Gap, ...], Mapping[str, float]]:
    """After a good cycle. `open_since`: all open positions, with the time since when each has
    stood; `allowed_gap_s`: a pause up to this between two cycles is no gap. A position seen
    for the first time had no stop since it was opened.

    Returns the new state, the gaps worth an alert, and the seconds to add by symbol.
    """
    still: dict[str, float] = {}
    added: dict[str, float] = {}
    gaps: list[Gap] = []
    alerted = set(before.alerted & open_since.keys())
    for symbol, since in open_since.items():
        last = before.covered_epoch.get(symbol, since)
        pause_s = max(0.0, now_epoch - last)
        if symbol in unpriced:
            still[symbol] = last
            if pause_s > ALERT_AFTER_S and symbol not in alerted:
                gaps.append(Gap(symbol, pause_s, ended=False))
                alerted.add(symbol)
            continue
        still[symbol] = now_epoch
        is_new = symbol not in before.covered_epoch
        if pause_s > (0.0 if is_new else allowed_gap_s):
            added[symbol] = pause_s
            if pause_s > ALERT_AFTER_S and symbol not in alerted:
                gaps.append(Gap(symbol, pause_s, ended=True))
        alerted.discard(symbol)
    total_s = before.total_s + sum(added.values())
    after = Protection(MappingProxyType(still), frozenset(alerted), total_s)
    return after, tuple(gaps), added


def uncovered(before: Protection, now_epoch: float) -> tuple[Protection, tuple[Gap, ...]]:
    """After a cycle in which the brain was not ready: the positions it knew stand unwatched."""
    gaps = tuple(
        Gap(symbol, now_epoch - last, ended=False)
        for symbol, last in before.covered_epoch.items()
        if now_epoch - last > ALERT_AFTER_S and symbol not in before.alerted
    )
    alerted = before.alerted | {gap.symbol for gap in gaps}
    return Protection(before.covered_epoch, alerted, before.total_s), gaps


def unwatched_s(protection: Protection, now_epoch: float, allowed_gap_s: float) -> dict[str, float]:
    """Seconds since the stop of each open position last worked, where that is too long."""
    pauses = {symbol: now_epoch - last for symbol, last in protection.covered_epoch.items()}
    return {symbol: pause_s for symbol, pause_s in pauses.items() if pause_s > allowed_gap_s}
