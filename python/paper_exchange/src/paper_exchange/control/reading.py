"""Reading control requests: JSON objects with named, typed fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TypeVar

from starlette.requests import Request

_LARGEST = 10**15
_E = TypeVar("_E", bound=StrEnum)


class BadControl(Exception):
    """A control request that cannot be done; answered with 400 and the message."""


class Fields:
    """A JSON object or a query. Every reader raises BadControl naming the field."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = dict(values)
        self._read: set[str] = set()

    def refuse_others(self) -> None:
        """A misspelt field must not pass for its default. To be called after reading."""
        left = sorted(set(self._values) - self._read)
        if left:
            known = ", ".join(sorted(self._read))
            raise BadControl(f"unknown field {left[0]!r}; known are: {known}")

    def raw(self, name: str) -> object:
        self._read.add(name)
        return self._values.get(name)

    def text(self, name: str, default: str | None = None) -> str:
        value = self.raw(name)
        if value is None:
            if default is None:
                raise BadControl(f"field {name!r} is missing")
            return default
        if not isinstance(value, str):
            raise BadControl(f"field {name!r} must be a string, not {value!r}")
        return value

    def decimal(self, name: str, default: Decimal | None = None) -> Decimal:
        value = self.raw(name)
        if value is None and default is not None:
            return default
        return to_decimal(value, f"field {name!r}")

    def integer(self, name: str, default: int | None = None) -> int:
        number = self.decimal(name, None if default is None else Decimal(default))
        if number != int(number):
            raise BadControl(f"field {name!r} must be a whole number, not {number}")
        return int(number)

    def optional_integer(self, name: str) -> int | None:
        return None if self.raw(name) is None else self.integer(name)

    def flag(self, name: str, *, default: bool) -> bool:
        value = self.raw(name)
        if value is None:
            return default
        if value in (True, "true", "1"):
            return True
        if value in (False, "false", "0"):
            return False
        raise BadControl(f"field {name!r} must be true or false, not {value!r}")

    def choice(self, name: str, kind: type[_E], default: _E) -> _E:
        value = self.text(name, default.value)
        try:
            return kind(value)
        except ValueError:
            known = ", ".join(kind)
            raise BadControl(f"field {name!r} must be one of {known}, not {value!r}") from None


def to_decimal(value: object, what: str) -> Decimal:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise BadControl(f"{what} must be a number, not {value!r}")
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise BadControl(f"{what} must be a number, not {value!r}") from None
    if not number.is_finite() or abs(number) > _LARGEST:
        raise BadControl(f"{what} must be a number of at most {_LARGEST}, not {value!r}")
    return number


async def read_object(request: Request) -> dict[str, object]:
    content = await request.body()
    try:
        value = json.loads(content) if content else {}
    except ValueError as error:
        raise BadControl(f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadControl("the body must be a JSON object")
    return value


async def read_fields(request: Request) -> Fields:
    return Fields(await read_object(request))
