"""Denials among results: who tried to exit without the right to. Pure."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

PREFIXES: Final = ("NOT_EXIT_OWNER", "SOURCE_UNVERIFIED")
TOLD: Final = "alert"
"""The mark of a drill that is to be alerted."""
_SAMPLES: Final = 5
_BLOCKED: Final = "BLOCKED"


@dataclass(slots=True)
class Denials:
    """`layers`: 1 for plans that came blocked from the Apply Layer, 2 for the executor's own."""

    count: int = 0
    drills: int = 0
    """Made on purpose by a proof, and registered as such by the operator's user."""
    told_drills: list[str] = field(default_factory=list)
    """Plan ids of those drills that are to be alerted, to see the alert."""
    sources: Counter[str] = field(default_factory=Counter)
    symbols: Counter[str] = field(default_factory=Counter)
    layers: Counter[int] = field(default_factory=Counter)
    samples: list[dict[str, str]] = field(default_factory=list)

    def details(self) -> dict[str, object]:
        return {
            "deny_count": self.count,
            "sources": dict(self.sources.most_common(20)),
            "symbols": dict(self.symbols.most_common(20)),
            "layers": {f"layer_{layer}": count for layer, count in sorted(self.layers.items())},
            "drills": self.drills,
            "samples": self.samples,
        }


def drill_alert_id(plans: str) -> str:
    """The id of the alert about these drills, by which it is known to be no other: `plans` are
    their ids, as its field `drill` has them. Told twice, it is still one alert."""
    return hashlib.sha256(f"denials after {plans}".encode()).hexdigest()[:32]


def collect(
    results: Iterable[tuple[str, Mapping[str, str]]], drill_mark: Callable[[str], str]
) -> Denials:
    """`results`: entries of the results' stream; `drill_mark`: what a plan id was registered
    with as a drill, empty when it is none."""
    denials = Denials()
    for entry_id, fields in results:
        error = fields.get("error", "")
        if not error.startswith(PREFIXES):
            continue
        plan_id = fields.get("plan_id", "")
        mark = drill_mark(plan_id)
        if mark:
            denials.drills += 1
            if mark == TOLD:
                denials.told_drills.append(plan_id)
            continue
        denials.count += 1
        denials.sources[fields.get("plan_source", "")] += 1
        denials.symbols[fields.get("symbol", "")] += 1
        denials.layers[1 if fields.get("decision") == _BLOCKED else 2] += 1
        if len(denials.samples) < _SAMPLES:
            names = ("plan_id", "symbol", "side", "qty", "plan_source", "error", "timestamp")
            denials.samples.append(
                {"id": entry_id, **{name: fields.get(name, "") for name in names}}
            )
    return denials
