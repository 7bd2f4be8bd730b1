"""Small values used everywhere: the wire's number format, times, and the three ways of not knowing.

A number on the wire is `\\d+(\\.\\d+)?`; an amount may carry a sign. Exponents, blanks,
NaN and infinities are refused: they parse as floats elsewhere and mean something else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

_UNSIGNED = re.compile(r"\d{1,30}(\.\d{1,18})?", re.ASCII)
_SIGNED = re.compile(r"[+-]?\d{1,30}(\.\d{1,18})?", re.ASCII)


class InvalidNumberError(ValueError):
    """The text is not a number in the wire's format."""


def parse_number(text: str) -> Decimal:
    """An unsigned number. Raises InvalidNumberError."""
    if not _UNSIGNED.fullmatch(text):
        raise InvalidNumberError(f"not a number: {text[:40]!r}")
    return Decimal(text)


def parse_amount(text: str) -> Decimal:
    """A number that may carry a sign. Raises InvalidNumberError."""
    if not _SIGNED.fullmatch(text):
        raise InvalidNumberError(f"not an amount: {text[:40]!r}")
    return Decimal(text)


def finite(text: str | int) -> Decimal:
    """A number of our own notes, read back. Raises ValueError or ArithmeticError."""
    value = Decimal(text)
    if not value.is_finite():
        raise ValueError("not a finite number")
    return value


def format_number(value: Decimal) -> str:
    """Plain digits, no exponent, no trailing zeros: `Decimal('1.500')` is `1.5`."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def format_epoch(epoch_s: float) -> str:
    """Unix seconds with microseconds, as all times on the wire."""
    return f"{epoch_s:.6f}"


class OrderSide(StrEnum):
    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        return 1 if self is OrderSide.BUY else -1


class PositionSide(StrEnum):
    LONG = "LONG"
    SHORT = "SHORT"
    FLAT = "FLAT"

    @classmethod
    def of(cls, amount: Decimal) -> PositionSide:
        if amount > 0:
            return cls.LONG
        return cls.SHORT if amount < 0 else cls.FLAT

    @property
    def exit_order_side(self) -> OrderSide:
        """The order side that reduces a position of this side. Raises ValueError for FLAT."""
        if self is PositionSide.FLAT:
            raise ValueError("a flat position has no exit side")
        return OrderSide.SELL if self is PositionSide.LONG else OrderSide.BUY


@dataclass(frozen=True, slots=True)
class Unknown:
    """It could not be read, or is not there where it must be."""

    why: str


@dataclass(frozen=True, slots=True)
class Stale:
    """It was read, but is too old to act on."""

    age_s: float
