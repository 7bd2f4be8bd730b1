"""What the brain holds between cycles. It is replaced as a whole once Redis has taken it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from quantum_exit.brain.protection import Protection
from quantum_exit.brain.stops import SymbolStops
from quantum_exit.brain.store import Saved
from quantum_exit.brain.track import Track
from quantum_exit.brain.watch import Book, forget


@dataclass(frozen=True, slots=True)
class BrainState:
    tracks: Mapping[str, Track]
    books: Mapping[str, Book]
    stops: Mapping[str, SymbolStops]
    protection: Protection
    cursor: str
    """Id of the last `apply.result` entry taken into account."""
    mode: str
    """As last written down; empty where no brain has ever run."""
    params_json: str
    """The last valid exit parameters that were written down."""
    first_run: bool

    @classmethod
    def of(cls, saved: Saved, last_result_id: str) -> BrainState:
        meta = saved.meta
        last_good = _seconds(meta.get("last_good_epoch", ""))
        return cls(
            tracks=saved.tracks,
            books=forget(saved.books) if saved.results_missing else saved.books,
            stops=saved.stops,
            protection=Protection(
                covered_epoch=dict.fromkeys(saved.tracks, last_good) if last_good else {},
                total_s=_seconds(meta.get("unprotected_total_s", "")),
            ),
            cursor=meta.get("cursor") or last_result_id,
            mode=meta.get("mode", ""),
            params_json=meta.get("params_json", ""),
            first_run=not meta,
        )

    def meta(self) -> dict[str, str]:
        return {
            "cursor": self.cursor,
            "mode": self.mode,
            "params_json": self.params_json,
            "unprotected_total_s": f"{self.protection.total_s:.3f}",
        }


def _seconds(text: str) -> float:
    """Zero for what is no number: these are figures for people, and no exit waits for them."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0
