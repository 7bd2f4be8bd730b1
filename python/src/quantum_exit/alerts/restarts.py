"""Services that ended by themselves and were started again, and that nobody has told of. Pure.

From systemd 254 on a unit's OnFailure= runs at each such end, at once. Before that, on Debian 12,
it runs only for one that stays down.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from quantum_exit.proofs import host

UNITS: Final = (
    *host.UNITS.values(),
    "quantum-alerts.service",
    "quantum-metrics.service",
    "redis-server.service",
)
REMEMBERED: Final = "started:"
"""Fields of the watch's state: `<invocation>:<restarts>` of each unit, as last seen."""
TELLING_S: Final = 15.0
"""Its own OnFailure= may still be at it."""


@dataclass(frozen=True, slots=True)
class Restarts:
    """`times`: how often each unit was; `seen`: what to remember of all."""

    times: dict[str, int] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)


def restarts(
    state: Mapping[str, str], units: Iterable[host.UnitState], told: Collection[str]
) -> Restarts:
    """`state`: the watch's; `told`: units that alerts were raised for since the last look."""
    found = Restarts()
    for unit in units:
        if not unit.installed:
            continue
        before = state.get(REMEMBERED + unit.unit, "")
        times = _since(before, unit)
        if times == 1 and (unit.active_for_s is None or unit.active_for_s < TELLING_S):
            continue  # the next look knows whether it was told of
        if times and unit.unit not in told:
            found.times[unit.unit] = times
        found.seen[REMEMBERED + unit.unit] = f"{unit.invocation}:{unit.restarts}"
    return found


def _since(before: str, unit: host.UnitState) -> int:
    """systemd counts from the last start that somebody asked for."""
    invocation, _, counted = before.partition(":")
    if not before or invocation == unit.invocation:
        return 0
    more = unit.restarts - int(counted or 0)
    return more if more > 0 else unit.restarts
