"""Flat dataclasses as JSON objects and back: Decimals and enums as their text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from decimal import Decimal
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

_T = TypeVar("_T")


def to_record(item: Any) -> dict[str, object]:
    return {field.name: _plain(getattr(item, field.name)) for field in fields(item)}


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Decimal | StrEnum) else value


def from_record(kind: type[_T], record: Mapping[str, Any]) -> _T:
    """Raises KeyError, TypeError, ValueError or ArithmeticError for what does not fit `kind`."""
    return kind(**{name: _typed(hint, record[name]) for name, hint in _hints_of(kind).items()})


def _hints_of(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _typed(hint: Any, value: Any) -> Any:
    if get_origin(hint) is UnionType:
        if value is None:
            return None
        hint = next(a for a in get_args(hint) if a is not NoneType)
    if hint is Decimal or issubclass(hint, StrEnum):
        return hint(value)
    if not isinstance(value, hint):
        raise TypeError(f"{value!r} is not {hint.__name__}")
    return value
