"""The words of the protocol and how its numbers are written."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from enum import StrEnum

ZERO = Decimal(0)
EIGHT_PLACES = Decimal("0.00000001")


class Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    LIMIT = "LIMIT"
    MARKET = "MARKET"
    STOP = "STOP"
    STOP_MARKET = "STOP_MARKET"
    TAKE_PROFIT = "TAKE_PROFIT"
    TAKE_PROFIT_MARKET = "TAKE_PROFIT_MARKET"
    TRAILING_STOP_MARKET = "TRAILING_STOP_MARKET"


class TimeInForce(StrEnum):
    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    GTX = "GTX"
    GTD = "GTD"
    GTE_GTC = "GTE_GTC"
    """Good till the position ends; of conditional orders only."""


class OrderStatus(StrEnum):
    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"

    @property
    def is_open(self) -> bool:
        return self in (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED)


class AlgoStatus(StrEnum):
    NEW = "NEW"
    CANCELED = "CANCELED"
    TRIGGERED = "TRIGGERED"
    FINISHED = "FINISHED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"


class Actor(StrEnum):
    """Who caused an order: our own key, or somebody behind its back."""

    API = "api"
    ALGO = "algo"
    HAND = "hand"
    LIQUIDATION = "liquidation"
    ADL = "adl"


def to_eight(value: Decimal) -> Decimal:
    """Money is kept to eight places, like the real exchange's books."""
    return value.quantize(EIGHT_PLACES, rounding=ROUND_HALF_EVEN)


def to_step(value: Decimal, step: Decimal, side: Side) -> Decimal:
    """`value` on the grid of `step`, rounded against the side that trades."""
    rounding = ROUND_CEILING if side is Side.BUY else ROUND_FLOOR
    return (value / step).to_integral_value(rounding=rounding) * step


def padded(value: Decimal, places: int) -> str:
    """`value` in plain digits with at least `places` decimals; more where it needs them."""
    exponent = value.normalize().as_tuple().exponent
    needed = -exponent if isinstance(exponent, int) else 0
    return f"{value:.{max(places, needed)}f}"


def money(value: Decimal) -> str:
    """A balance or margin: always eight decimals."""
    return f"{to_eight(value):.8f}"
