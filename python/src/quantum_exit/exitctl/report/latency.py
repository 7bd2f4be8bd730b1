"""How long things took, by the clock of Redis, which stamps every entry. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from quantum_exit.exitctl.activity import Entry

BOUNDS_MS: Final = (5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)
"""Upper bounds of the histogram's bars; one more bar is for what took longer."""


WHOLE: Final = "exit: intent to result"


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of one leg, sorted."""

    name: str
    sample_ms: tuple[float, ...]

    def quantile(self, share: float) -> float | None:
        """The smallest that at least `share` of the sample do not exceed; None without one."""
        if not self.sample_ms:
            return None
        at = max(-(-int(share * 1000) * len(self.sample_ms) // 1000), 1)
        return self.sample_ms[min(at, len(self.sample_ms)) - 1]

    @property
    def bars(self) -> tuple[int, ...]:
        counts = [0] * (len(BOUNDS_MS) + 1)
        for value in self.sample_ms:
            counts[next((i for i, b in enumerate(BOUNDS_MS) if value <= b), len(BOUNDS_MS))] += 1
        return tuple(counts)


def latencies(
    intents: Sequence[Entry], plans: Sequence[Entry], results: Sequence[Entry]
) -> list[Latency]:
    """Of exits that were executed: each leg and the whole; of what was refused: the answer."""
    asked = {f"exit-{fields.get('intent_id', '')}": _ms(entry_id) for entry_id, fields in intents}
    planned: dict[str, float] = {}
    for entry_id, fields in plans:
        planned.setdefault(fields.get("plan_id", ""), _ms(entry_id))
    done = _times(results, executed=True)
    refused = _times(results, executed=False)
    return [
        _between("exit: intent to plan", asked, {p: planned[p] for p in done if p in planned}),
        _between("exit: plan to result", {p: planned[p] for p in asked if p in planned}, done),
        _between(WHOLE, asked, done),
        _between("refusal: plan to result", planned, refused),
    ]


def _times(results: Iterable[Entry], *, executed: bool) -> dict[str, float]:
    return {
        fields.get("plan_id", ""): _ms(entry_id)
        for entry_id, fields in results
        if (fields.get("executed") == "true") == executed
    }


def _between(name: str, begin: Mapping[str, float], end: Mapping[str, float]) -> Latency:
    sample = sorted(end[key] - begin[key] for key in begin.keys() & end.keys())
    return Latency(name, tuple(value for value in sample if value >= 0))


def _ms(entry_id: str) -> float:
    return float(entry_id.partition("-")[0])
