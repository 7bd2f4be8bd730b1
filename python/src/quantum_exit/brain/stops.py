"""What the brain remembers of the stops that rest on the exchange, and how it is written down."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from quantum_exit.values import PositionSide, finite, format_number


class StopState(StrEnum):
    PLACING = "placing"
    RESTING = "resting"
    CANCELLING = "cancelling"
    UNWANTED = "unwanted"
    """To be cancelled, now or after a pause."""
    UNSEEN = "unseen"
    """It does not rest any more. It may have fired, so it is remembered for a while: what it
    did to the position may show later."""


@dataclass(frozen=True, slots=True)
class RestingStop:
    client_id: str
    side: PositionSide
    """Of the position that it protects."""
    trigger: Decimal
    quantity: Decimal
    state: StopState
    intent_id: str
    """Of the intent in flight; of the last one when none is."""
    sent_epoch: float = 0.0
    not_before_epoch: float = 0.0
    cancels: int = 0
    """Cancellations asked for."""


@dataclass(frozen=True, slots=True)
class SymbolStops:
    stops: tuple[RestingStop, ...] = ()
    placed: int = 0
    """Placements asked for in this episode: part of their intents' ids."""
    episode: str = ""
    failures: int = 0
    """Placements refused in a row."""
    not_before_epoch: float = 0.0
    error: str = ""

    @property
    def resting(self) -> tuple[RestingStop, ...]:
        return tuple(stop for stop in self.stops if stop.state is StopState.RESTING)


def dump_stops(entry: SymbolStops) -> str:
    document = {
        "stops": [
            {
                "client_id": stop.client_id,
                "side": stop.side.value,
                "trigger": format_number(stop.trigger),
                "quantity": format_number(stop.quantity),
                "state": stop.state.value,
                "intent_id": stop.intent_id,
                "sent_epoch": stop.sent_epoch,
                "not_before_epoch": stop.not_before_epoch,
                "cancels": stop.cancels,
            }
            for stop in entry.stops
        ],
        "placed": entry.placed,
        "episode": entry.episode,
        "failures": entry.failures,
        "not_before_epoch": entry.not_before_epoch,
        "error": entry.error,
    }
    return json.dumps(document, separators=(",", ":"))


def load_stops(text: str | bytes) -> SymbolStops:
    """Raises ValueError, KeyError, TypeError or ArithmeticError for what is not ours."""
    document: dict[str, Any] = json.loads(text)
    stops = tuple(
        RestingStop(
            **{
                **stop,
                "side": PositionSide(stop["side"]),
                "trigger": finite(stop["trigger"]),
                "quantity": finite(stop["quantity"]),
                "state": StopState(stop["state"]),
            }
        )
        for stop in document.pop("stops")
    )
    return SymbolStops(stops=stops, **document)
