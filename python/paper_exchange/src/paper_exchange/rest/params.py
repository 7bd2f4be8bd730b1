"""Parameters of a request: from the query and the form body, typed on demand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar
from urllib.parse import parse_qsl

from ..domain import refusals
from ..domain.refusals import Refused

_NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")
_INTEGER = re.compile(r"[0-9]{1,20}")
CLIENT_ID = re.compile(r"[\.A-Z\:/a-z0-9_-]{1,36}")
_E = TypeVar("_E", bound=StrEnum)


class Params(Mapping[str, str]):
    """Query and body together; where a name stands in both, the query's value counts.

    Every reader raises Refused with the code the exchange uses for a bad value.
    """

    def __init__(self, query: str, body: str) -> None:
        self._values = dict(parse_qsl(body, keep_blank_values=True))
        self._values.update(parse_qsl(query, keep_blank_values=True))

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def text(self, name: str) -> str:
        value = self._values.get(name, "")
        if not value:
            raise refusals.missing(name)
        return value

    def optional_text(self, name: str) -> str:
        return self._values.get(name, "")

    def decimal(self, name: str) -> Decimal:
        text = self.text(name)
        if not _NUMBER.fullmatch(text):
            raise refusals.illegal_characters(name, r"^([0-9]{1,20})(\.[0-9]{1,20})?$")
        return Decimal(text)

    def optional_decimal(self, name: str) -> Decimal | None:
        return self.decimal(name) if self._values.get(name) else None

    def integer(self, name: str) -> int:
        text = self.text(name)
        if not _INTEGER.fullmatch(text):
            raise refusals.illegal_characters(name, "^[0-9]{1,20}$")
        return int(text)

    def optional_integer(self, name: str) -> int | None:
        return self.integer(name) if self._values.get(name) else None

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self._values.get(name)
        if not value:
            return default
        if value.lower() not in ("true", "false"):
            raise refusals.invalid_data(name)
        return value.lower() == "true"

    def choice(self, name: str, kind: type[_E], refusal: Refused) -> _E:
        text = self.text(name)
        try:
            return kind(text)
        except ValueError:
            raise refusal from None

    def client_id(self, name: str) -> str:
        """Empty when none was sent."""
        text = self._values.get(name, "")
        if name in self._values and not CLIENT_ID.fullmatch(text):
            if len(text) > 36:
                raise Refused(-4015, "Client order id length should not be more than 36 chars")
            raise Refused(-4015, "Client order id is not valid.")
        return text
