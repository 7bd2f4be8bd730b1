"""What the brain remembers of one position, and how that is written down.

A track belongs to one episode of a position: from its opening to flat, or to the other side.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from quantum_exit.exits.rules import Rule, RuleState
from quantum_exit.values import PositionSide, finite, format_number

_VERSION: Final = 1


class AskState(StrEnum):
    IN_FLIGHT = "in_flight"
    FAILED = "failed"
    EXECUTED = "executed"


@dataclass(frozen=True, slots=True)
class Ask:
    """The latest intent for one reason, and what became of it."""

    key: str
    """The decision's key: why it was asked."""
    attempt: int
    intent_id: str
    state: AskState
    sent_epoch: float
    not_before_epoch: float = 0.0
    """No new attempt before this time."""
    failures: int = 0
    """In a row."""
    error: str = ""
    fraction: Decimal = Decimal(1)
    level_pct: Decimal | None = None
    filled: Decimal = Decimal(0)
    """Of a level: what all its intents have filled so far."""


@dataclass(frozen=True, slots=True)
class Track:
    symbol: str
    episode: str
    """Unique to this episode; part of every intent id of it."""
    rules: RuleState
    amount: Decimal
    """As last observed, signed."""
    largest: Decimal
    """The largest size of the episode, unsigned: fractions are of it."""
    asks: Mapping[str, Ask] = field(default_factory=lambda: MappingProxyType({}))
    """By slot: `close` for all that closes the whole, `tp<pct>` for one level."""
    shadowed: frozenset[str] = frozenset()
    """Reasons that were already written to the shadow stream."""
    unprotected_s: float = 0.0
    """Seconds of this episode without a working stop."""


def dump_track(track: Track) -> str:
    rules = track.rules
    document = {
        "v": _VERSION,
        "symbol": track.symbol,
        "episode": track.episode,
        "side": rules.side.value,
        "entry": format_number(rules.entry),
        "opened_epoch": rules.opened_epoch,
        "highest": format_number(rules.highest),
        "lowest": format_number(rules.lowest),
        "stop": format_number(rules.stop),
        "stop_rule": rules.stop_rule.value,
        "atr": _text(rules.atr),
        "levels_taken": sorted(format_number(pct) for pct in rules.levels_taken),
        "fraction_taken": format_number(rules.fraction_taken),
        "closing": rules.closing.value if rules.closing else None,
        "amount": format_number(track.amount),
        "largest": format_number(track.largest),
        "asks": {slot: _dump_ask(ask) for slot, ask in sorted(track.asks.items())},
        "shadowed": sorted(track.shadowed),
        "unprotected_s": round(track.unprotected_s, 3),
    }
    return json.dumps(document, separators=(",", ":"))


def load_track(text: str | bytes) -> Track:
    """Raises ValueError, KeyError, TypeError or ArithmeticError for what is not ours."""
    document: dict[str, Any] = json.loads(text)
    if document["v"] != _VERSION:
        raise ValueError(f"a track of version {document['v']}")
    closing = document["closing"]
    rules = RuleState(
        side=PositionSide(document["side"]),
        entry=finite(document["entry"]),
        opened_epoch=float(document["opened_epoch"]),
        highest=finite(document["highest"]),
        lowest=finite(document["lowest"]),
        stop=finite(document["stop"]),
        stop_rule=Rule(document["stop_rule"]),
        atr=_number(document["atr"]),
        levels_taken=frozenset(finite(pct) for pct in document["levels_taken"]),
        fraction_taken=finite(document["fraction_taken"]),
        closing=Rule(closing) if closing else None,
    )
    return Track(
        symbol=document["symbol"],
        episode=document["episode"],
        rules=rules,
        amount=finite(document["amount"]),
        largest=finite(document["largest"]),
        asks=MappingProxyType({slot: _load_ask(ask) for slot, ask in document["asks"].items()}),
        shadowed=frozenset(document["shadowed"]),
        unprotected_s=float(document["unprotected_s"]),
    )


def _dump_ask(ask: Ask) -> dict[str, object]:
    return {
        "key": ask.key,
        "attempt": ask.attempt,
        "intent_id": ask.intent_id,
        "state": ask.state.value,
        "sent_epoch": ask.sent_epoch,
        "not_before_epoch": ask.not_before_epoch,
        "failures": ask.failures,
        "error": ask.error,
        "fraction": format_number(ask.fraction),
        "level_pct": _text(ask.level_pct),
        "filled": format_number(ask.filled),
    }


def _load_ask(document: dict[str, Any]) -> Ask:
    return Ask(
        key=document["key"],
        attempt=int(document["attempt"]),
        intent_id=document["intent_id"],
        state=AskState(document["state"]),
        sent_epoch=float(document["sent_epoch"]),
        not_before_epoch=float(document["not_before_epoch"]),
        failures=int(document["failures"]),
        error=document["error"],
        fraction=finite(document["fraction"]),
        level_pct=_number(document["level_pct"]),
        filled=finite(document.get("filled", "0")),  # an older release did not keep it
    )


def _text(value: Decimal | None) -> str | None:
    return None if value is None else format_number(value)


def _number(text: str | None) -> Decimal | None:
    return None if text is None else finite(text)
