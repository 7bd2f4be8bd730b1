"""What the brain would have done in SHADOW, beside what happened. Pure.

For each shadow entry the first fill that reduced the same position afterwards is looked
for. Without one the position still stands, or it went without a result of ours.
"""

from __future__ import annotations

import bisect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from quantum_exit.brain.results import read_fields
from quantum_exit.messages import ExitIntent, parse_intent
from quantum_exit.values import InvalidNumberError, PositionSide, format_number, parse_number


class Happened(StrEnum):
    EXITED = "EXITED"
    """A fill of a plan reduced it."""
    STILL_OPEN = "STILL_OPEN"
    GONE = "GONE"
    """Flat now, and no result says by whom."""


@dataclass(frozen=True, slots=True)
class ShadowRow:
    at_epoch: float
    symbol: str
    side: PositionSide
    action: str
    reason: str
    mode: str
    quantity: Decimal
    would_price: Decimal | None
    """The mark price at which the brain would have asked."""
    happened: Happened
    by: str
    """Source of the plan that exited; empty otherwise."""
    after_s: float | None
    """From the shadow entry to that exit."""
    price: Decimal | None
    """Of that exit; the mark price of now while it still stands; None when not known."""
    gain: Decimal | None
    """What waiting brought, in the quote asset: below zero, the brain would have done better."""


@dataclass(frozen=True, slots=True)
class ShadowReport:
    rows: tuple[ShadowRow, ...]
    unreadable: int
    """Entries of the shadow stream that are no intents."""

    @property
    def total_gain(self) -> Decimal:
        return sum((row.gain for row in self.rows if row.gain is not None), Decimal(0))

    def as_json(self) -> dict[str, object]:
        return {
            "rows": [_row_json(row) for row in self.rows],
            "total_gain": format_number(self.total_gain),
            "unreadable": self.unreadable,
        }


def shadow_report(
    shadow: Sequence[Mapping[str, str]],
    results: Sequence[Mapping[str, str]],
    amounts: Mapping[str, Decimal],
    marks: Mapping[str, Decimal],
) -> ShadowReport:
    """`shadow`, `results`: fields of the entries, oldest first. `amounts`: signed positions of
    now (a symbol without one is flat); `marks`: mark prices of now."""
    exits = _Exits([found for fields in results if (found := _exit_of(fields)) is not None])
    rows: list[ShadowRow] = []
    unreadable = 0
    for fields in shadow:
        intent = parse_intent(fields)
        if not isinstance(intent, ExitIntent):
            unreadable += 1
            continue
        rows.append(_row(intent, fields.get("mode", ""), exits, amounts, marks))
    return ShadowReport(tuple(rows), unreadable)


@dataclass(frozen=True, slots=True)
class _Exit:
    epoch: float
    symbol: str
    filled: Decimal
    """Signed."""
    source: str
    price: Decimal | None


class _Exits:
    """Looked up by symbol and direction: a period may hold many thousands."""

    def __init__(self, found: Sequence[_Exit]) -> None:
        self._by_way: dict[tuple[str, bool], list[_Exit]] = {}
        for one in sorted(found, key=lambda one: one.epoch):
            self._by_way.setdefault((one.symbol, one.filled < 0), []).append(one)

    def first(self, symbol: str, side: PositionSide, since_epoch: float) -> _Exit | None:
        """That reduced a position of this side."""
        several = self._by_way.get((symbol, side is PositionSide.LONG), [])
        at = bisect.bisect_left(several, since_epoch, key=lambda one: one.epoch)
        return several[at] if at < len(several) else None


def _exit_of(fields: Mapping[str, str]) -> _Exit | None:
    result = read_fields(fields)
    if not result.filled:
        return None
    return _Exit(
        epoch=float(_number(fields.get("timestamp", "")) or 0),
        symbol=result.symbol,
        filled=result.filled,
        source=fields.get("plan_source", ""),
        price=_price(fields.get("details", "")),
    )


def _price(details: str) -> Decimal | None:
    try:
        document: Any = json.loads(details)
        return _number(str(document.get("avg_price", "")))
    except (ValueError, AttributeError, RecursionError):
        return None


def _number(text: str) -> Decimal | None:
    try:
        return parse_number(text)
    except InvalidNumberError:
        return None


def _row(
    intent: ExitIntent,
    mode: str,
    exits: _Exits,
    amounts: Mapping[str, Decimal],
    marks: Mapping[str, Decimal],
) -> ShadowRow:
    at_epoch = float(intent.ts_epoch)
    sign = 1 if intent.side is PositionSide.LONG else -1
    found = exits.first(intent.symbol, intent.side, at_epoch)
    if found is not None:
        happened, price = Happened.EXITED, found.price
    elif amounts.get(intent.symbol, Decimal(0)) * sign > 0:
        happened, price = Happened.STILL_OPEN, marks.get(intent.symbol)
    else:
        happened, price = Happened.GONE, None
    quantity = intent.quantity or Decimal(0)
    would_price = _number(intent.wire.get("mark_price", ""))
    gain = None
    if price is not None and would_price is not None:
        gain = sign * (price - would_price) * quantity
    return ShadowRow(
        at_epoch=at_epoch,
        symbol=intent.symbol,
        side=intent.side,
        action=intent.action.value,
        reason=intent.reason,
        mode=mode,
        quantity=quantity,
        would_price=would_price,
        happened=happened,
        by=found.source if found else "",
        after_s=found.epoch - at_epoch if found else None,
        price=price,
        gain=gain,
    )


def _row_json(row: ShadowRow) -> dict[str, object]:
    def text(value: Decimal | None) -> str | None:
        return None if value is None else format_number(value)

    return {
        "at_epoch": row.at_epoch,
        "symbol": row.symbol,
        "side": row.side.value,
        "action": row.action,
        "reason": row.reason,
        "mode": row.mode,
        "quantity": text(row.quantity),
        "would_price": text(row.would_price),
        "happened": row.happened.value,
        "by": row.by,
        "after_s": row.after_s,
        "price": text(row.price),
        "gain": text(row.gain),
    }
