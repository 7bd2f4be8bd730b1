"""Taking typed values out of the exchange's JSON: a wrong or missing field is `Malformed`.

Amounts come as JSON strings and become Decimal without passing through a float.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

# The exchange pads to the symbol's precision and now and then answers "0E-8".
_NUMBER = re.compile(r"[+-]?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,2})?")
_MAX_WHOLE = 2**63


class Malformed(ValueError):
    """The exchange's answer does not have the promised shape; says which field."""


def decode_json(body: bytes, object_hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """The JSON value of `body`; `Malformed` when it is none (HTML, cut off, NaN, nested madly)."""
    try:
        return json.loads(body, object_hook=object_hook, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not JSON ({type(error).__name__}, {len(body)} bytes)") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def as_object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Malformed(f"expected an object, got {type(value).__name__}")
    return value


def as_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Malformed(f"expected a list, got {type(value).__name__}")
    return value


def text(row: Mapping[str, Any], name: str) -> str:
    """A non-empty string."""
    value = row.get(name)
    if not isinstance(value, str) or not value:
        raise Malformed(f"{name}: missing or not a string")
    return value


def choice(row: Mapping[str, Any], name: str, allowed: frozenset[str]) -> str:
    value = text(row, name)
    if value not in allowed:
        raise Malformed(f"{name}: unexpected value")
    return value


def flag(row: Mapping[str, Any], name: str) -> bool:
    value = row.get(name)
    if not isinstance(value, bool):
        raise Malformed(f"{name}: missing or not true/false")
    return value


def whole(row: Mapping[str, Any], name: str) -> int:
    """A JSON integer of at most 63 bits."""
    value = row.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= _MAX_WHOLE:
        raise Malformed(f"{name}: missing or not an integer")
    return value


def whole_or_text(row: Mapping[str, Any], name: str) -> int:
    """An integer that some endpoints write as a string ("20")."""
    value = row.get(name)
    if isinstance(value, str) and re.fullmatch(r"\d{1,18}", value, re.ASCII):
        return int(value)
    return whole(row, name)


def amount(row: Mapping[str, Any], name: str) -> Decimal:
    """A finite Decimal written as a JSON string."""
    return parse_amount(row.get(name), name)


def positive(row: Mapping[str, Any], name: str) -> Decimal:
    value = amount(row, name)
    if value <= 0:
        raise Malformed(f"{name}: not above zero")
    return value


def not_negative(row: Mapping[str, Any], name: str) -> Decimal:
    value = amount(row, name)
    if value < 0:
        raise Malformed(f"{name}: below zero")
    return value


def parse_amount(value: Any, name: str) -> Decimal:
    if not isinstance(value, str) or _NUMBER.fullmatch(value) is None or not value.isascii():
        raise Malformed(f"{name}: missing or not a decimal string")
    return Decimal(value)
