"""The wire types: flat maps of strings on Redis streams, parsed once into immutable values.

Parsing says *which* field is wrong and never raises on bad input. A message keeps the
exact strings it was parsed from, because signatures are over those.
"""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeVar

from quantum_exit.signing import INTENT_FIELDS, PLAN_FIELDS
from quantum_exit.values import (
    InvalidNumberError,
    OrderSide,
    PositionSide,
    parse_number,
)

PLAN_REQUIRED: Final = ("plan_id", "decision", "symbol", "side", "qty", "source", "timestamp")
INTENT_REQUIRED: Final = ("intent_id", "symbol", "action", "side", "source", "ts_epoch")

# Lengths bound what a hostile producer can make us store, log and use as a key.
_IDENTIFIER = re.compile(r"[^\x00-\x20\x7f-\xa0]{1,128}")
_SOURCE = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)
_SYMBOL = re.compile(r"[A-Z0-9_\u4e00-\u9fff]{1,40}")  # the exchange lists Chinese names too
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u0080-\u009f\u2028\u2029\ud800-\udfff]")
_MAX_TEXT = 1_000
_MAX_INTENT = 8_000
_TRUTH: Final = {"true": True, "false": False}

_LISTED: Final = {name.encode(): name for name in (*PLAN_FIELDS, *INTENT_FIELDS, "sig")}

E = TypeVar("E", bound=StrEnum)


@functools.cache
def _members(kind: type[E]) -> Mapping[str, E]:
    return {member.value: member for member in kind}


class Decision(StrEnum):
    """What a plan asks for."""

    EXECUTE = "EXECUTE"
    BLOCKED = "BLOCKED"
    SKIP = "SKIP"


class OrderType(StrEnum):
    MARKET = "MARKET"
    STOP_MARKET = "STOP_MARKET"
    CANCEL = "CANCEL"


class IntentAction(StrEnum):
    FULL_CLOSE = "FULL_CLOSE"
    PARTIAL_CLOSE = "PARTIAL_CLOSE"
    PLACE_STOP = "PLACE_STOP"
    CANCEL_STOP = "CANCEL_STOP"

    @property
    def order_type(self) -> OrderType:
        if self is IntentAction.PLACE_STOP:
            return OrderType.STOP_MARKET
        return OrderType.CANCEL if self is IntentAction.CANCEL_STOP else OrderType.MARKET


@dataclass(frozen=True, slots=True)
class Malformed:
    """Why a message cannot be read. `error` is the wire's own words for it."""

    error: str
    fields: Mapping[str, str]
    """What could be decoded of it, for the result: never to be acted on."""


@dataclass(frozen=True, slots=True)
class ExitIntent:
    """A wish to reduce a position (or to place or cancel its protective stop)."""

    intent_id: str
    symbol: str
    action: IntentAction
    side: PositionSide
    qty_fraction: Decimal | None
    quantity: Decimal | None
    trigger_price: Decimal | None
    reason: str
    source: str
    ts_epoch: Decimal
    wire: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    plan_id: str
    decision: Decision
    reason: str
    symbol: str
    side: OrderSide
    type: OrderType
    qty: Decimal
    reduce_only: bool
    reduce_only_said: bool
    """False when the field was missing and counts as true."""
    trigger_price: Decimal | None
    source: str
    timestamp: Decimal
    wire: Mapping[str, str]


def decode_fields(raw: Mapping[bytes, bytes]) -> dict[str, str] | Malformed:
    """Redis bytes to strings, under the listed names; other fields are ignored."""
    fields: dict[str, str] = {}
    bad: list[str] = []
    for raw_name, raw_value in raw.items():
        name = _LISTED.get(raw_name)
        if name is None:
            continue
        try:
            fields[name] = raw_value.decode()
        except UnicodeDecodeError:
            bad.append(name)
    if bad:
        return Malformed(f"invalid_field:{min(bad)}", fields)
    return fields


class _Reader:
    """Reads listed fields one by one and remembers the first that is wrong."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = fields
        self.bad: str | None = None

    def fail(self, name: str) -> None:
        if self.bad is None:
            self.bad = name

    def matching(self, name: str, pattern: re.Pattern[str]) -> str:
        value = self._fields.get(name, "")
        if not pattern.fullmatch(value):
            self.fail(name)
            return ""
        return value

    def text(self, name: str, max_length: int = _MAX_TEXT) -> str:
        value = self._fields.get(name, "")
        # What is printable has no control characters, and is known to be so sooner.
        if len(value) > max_length or not (value.isprintable() or not _CONTROL.search(value)):
            self.fail(name)
            return ""
        return value

    def number(self, name: str) -> Decimal:
        try:
            return parse_number(self._fields.get(name, ""))
        except InvalidNumberError:
            self.fail(name)
            return Decimal(0)

    def optional_number(self, name: str) -> Decimal | None:
        return self.number(name) if self._fields.get(name) else None

    def choice(self, name: str, kind: type[E], default: E | None = None) -> E | None:
        """A member of `kind`; a missing field takes the default, if there is one."""
        value = self._fields.get(name)
        if value is None and default is not None:
            return default
        member = _members(kind).get(value or "")
        if member is None:
            self.fail(name)
        return member


def _missing(fields: Mapping[str, str], required: tuple[str, ...]) -> str | None:
    names = [name for name in required if not (fields.get(name) or "").strip()]
    return f"missing_required_fields:{','.join(names)}" if names else None


def parse_plan(fields: Mapping[str, str]) -> Plan | Malformed:
    """A plan, or which fields are missing, or the first one that is wrong."""
    missing = _missing(fields, PLAN_REQUIRED)
    if missing:
        return Malformed(missing, fields)
    read = _Reader(fields)
    plan_id = read.matching("plan_id", _IDENTIFIER)
    decision = read.choice("decision", Decision)
    symbol = read.matching("symbol", _SYMBOL)
    side = read.choice("side", OrderSide)
    order_type = read.choice("type", OrderType, OrderType.MARKET)
    qty = read.number("qty")
    if decision is Decision.EXECUTE and order_type is not OrderType.CANCEL and qty == 0:
        read.fail("qty")
    source = read.matching("source", _SOURCE)
    timestamp = read.number("timestamp")
    said = fields.get("reduceOnly")
    reduce_only = True if said is None else _TRUTH.get(said.lower())
    if reduce_only is None:
        read.fail("reduceOnly")
    trigger_price = read.optional_number("trigger_price")
    if order_type is OrderType.STOP_MARKET and not trigger_price:
        read.fail("trigger_price")
    reason = read.text("reason")
    for name in ("signature", "action"):
        read.text(name)
    read.text("intent", _MAX_INTENT)
    if read.bad is not None or decision is None or side is None or order_type is None:
        return Malformed(f"invalid_field:{read.bad}", fields)
    return Plan(
        plan_id=plan_id,
        decision=decision,
        reason=reason,
        symbol=sys.intern(symbol),  # few, and the same in thousands of plans
        side=side,
        type=order_type,
        qty=qty,
        reduce_only=bool(reduce_only),
        reduce_only_said=said is not None,
        trigger_price=trigger_price,
        source=sys.intern(source),
        timestamp=timestamp,
        wire=_freeze(fields, PLAN_FIELDS),
    )


def parse_intent(fields: Mapping[str, str]) -> ExitIntent | Malformed:
    """An exit intent, or which fields are missing, or the first one that is wrong.

    A close needs a `quantity`; a fraction, if given, lies in (0, 1]. PLACE_STOP needs a
    `quantity` and a `trigger_price`.
    """
    missing = _missing(fields, INTENT_REQUIRED)
    if missing:
        return Malformed(missing, fields)
    read = _Reader(fields)
    intent_id = read.matching("intent_id", _IDENTIFIER)
    symbol = read.matching("symbol", _SYMBOL)
    action = read.choice("action", IntentAction)
    side = read.choice("side", PositionSide)
    if side is PositionSide.FLAT:
        read.fail("side")
    qty_fraction = read.optional_number("qty_fraction")
    if qty_fraction is not None and not 0 < qty_fraction <= 1:
        read.fail("qty_fraction")
    quantity = read.optional_number("quantity")
    if action is not IntentAction.CANCEL_STOP and not quantity:
        read.fail("quantity")
    trigger_price = read.optional_number("trigger_price")
    if action is IntentAction.PLACE_STOP and not trigger_price:
        read.fail("trigger_price")
    for name in ("entry_price", "mark_price"):
        read.optional_number(name)
    reason = read.text("reason")
    source = read.matching("source", _SOURCE)
    ts_epoch = read.number("ts_epoch")
    if read.bad is not None or action is None or side is None:
        return Malformed(f"invalid_field:{read.bad}", fields)
    return ExitIntent(
        intent_id=intent_id,
        symbol=symbol,
        action=action,
        side=side,
        qty_fraction=qty_fraction,
        quantity=quantity,
        trigger_price=trigger_price,
        reason=reason,
        source=source,
        ts_epoch=ts_epoch,
        wire=_freeze(fields, INTENT_FIELDS),
    )


def parse_embedded_intent(text: str) -> ExitIntent | Malformed:
    """The `intent` field of a plan: one JSON object of strings, no name twice."""
    try:
        value = json.loads(text, object_pairs_hook=_object_of_strings)
    except (ValueError, RecursionError):
        return Malformed("invalid_field:intent", {})
    if not isinstance(value, dict):
        return Malformed("invalid_field:intent", {})
    return parse_intent(value)


def dump_embedded_intent(intent: ExitIntent) -> str:
    return json.dumps(dict(intent.wire), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _object_of_strings(pairs: list[tuple[str, object]]) -> dict[str, str]:
    """Names given twice are refused: two readers could each believe another value."""
    result: dict[str, str] = {}
    for name, value in pairs:
        if not isinstance(value, str) or name in result:
            raise ValueError("not a JSON object of strings, each name once")
        result[name] = value
    return result


def _freeze(fields: Mapping[str, str], listed: frozenset[str]) -> Mapping[str, str]:
    kept = {name: value for name, value in fields.items() if name in listed or name == "sig"}
    return MappingProxyType(kept)
