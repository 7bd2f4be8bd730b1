"""The exchange's refusals: each names its code, its message and its HTTP status."""

from __future__ import annotations

from decimal import Decimal


class Refused(Exception):
    """A request the exchange answers with `{"code": …, "msg": …}`."""

    def __init__(self, code: int, msg: str, status: int = 400) -> None:
        super().__init__(f"{code} {msg}")
        self.code = code
        self.msg = msg
        self.status = status

    def body(self) -> dict[str, object]:
        return {"code": self.code, "msg": self.msg}


def missing(name: str) -> Refused:
    return Refused(
        -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    )


def either_missing(one: str, other: str) -> Refused:
    return Refused(-1102, f"Param '{one}' or '{other}' must be sent, but both were empty/null!")


def illegal_characters(name: str, pattern: str) -> Refused:
    return Refused(
        -1100, f"Illegal characters found in parameter '{name}'; legal range is '{pattern}'."
    )


def invalid_data(name: str) -> Refused:
    return Refused(-1130, f"Data sent for parameter '{name}' is not valid.")


def not_required(name: str) -> Refused:
    return Refused(-1106, f"Parameter '{name}' sent when not required.")


def precision() -> Refused:
    return Refused(-1111, "Precision is over the maximum defined for this asset.")


def invalid_symbol() -> Refused:
    return Refused(-1121, "Invalid symbol.")


def invalid_type() -> Refused:
    return Refused(-1116, "Invalid orderType.")


def unknown_order() -> Refused:
    return Refused(-2011, "Unknown order sent.")


def no_such_order() -> Refused:
    return Refused(-2013, "Order does not exist.")


def margin() -> Refused:
    return Refused(-2019, "Margin is insufficient.")


def would_trigger() -> Refused:
    return Refused(-2021, "Order would immediately trigger.")


def reduce_only() -> Refused:
    return Refused(-2022, "ReduceOnly Order is rejected.")


def position_limit() -> Refused:
    return Refused(-2027, "Exceeded the maximum allowable position at current leverage.")


def duplicate_id() -> Refused:
    return Refused(-4116, "ClientOrderId is duplicated.")


def reduce_only_covered() -> Refused:
    return Refused(
        -4118, "ReduceOnly Order Failed. Please check your existing position and open orders."
    )


def conditional_on_order() -> Refused:
    return Refused(
        -4120,
        "Order type not supported for this endpoint. "
        "Please use the Algo Order API endpoints instead.",
    )


def min_notional(limit: Decimal) -> Refused:
    return Refused(
        -4164,
        f"Order's notional must be no smaller than {limit} (unless you choose reduce only).",
    )


def engine_window() -> Refused:
    return Refused(-5028, "Timestamp for this request is outside of the ME recvWindow.")
