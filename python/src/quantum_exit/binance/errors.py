"""What can become of a request.

A write ends in an `Outcome`; only two of its kinds are open to doubt-free repetition
(`NotSent`, `RateLimited`), and `Unknown` never is. A read answers or raises. No text here ever
carries a query string, a key or a signature: they name method and path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from quantum_exit.binance.fields import Malformed, decode_json

Ack = TypeVar("Ack")


@dataclass(frozen=True, slots=True)
class Accepted(Generic[Ack]):
    """The exchange has taken it, and said how."""

    ack: Ack


@dataclass(frozen=True, slots=True)
class Refused:
    """Not executed, and it never will be. `retryable`: the exchange was overloaded, ask again."""

    http_status: int
    code: int | None
    msg: str
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class RateLimited:
    """Not executed: too many requests (429) or banned for a while (418)."""

    http_status: int
    code: int | None
    msg: str
    retry_after_s: float
    banned: bool


@dataclass(frozen=True, slots=True)
class NotSent:
    """Not one byte of the request left this process."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """It may have been executed, or may be yet. Look it up; never just send it again."""

    reason: str
    http_status: int | None = None
    code: int | None = None


Outcome: TypeAlias = Accepted[Ack] | Refused | RateLimited | NotSent | Unknown


class ReadFailed(Exception):
    """A read gave no value."""


class ExchangeError(ReadFailed):
    """The exchange answered, but with an error or with something malformed (code None)."""

    def __init__(self, http_status: int, code: int | None, msg: str, request: str = "") -> None:
        super().__init__(f"{request}: HTTP {http_status}, code {code}: {msg}")
        self.http_status = http_status
        self.code = code
        self.msg = msg
        self.request = request

    @property
    def credentials_rejected(self) -> bool:
        return self.code in CREDENTIAL_CODES


class ExchangeUnreachable(ReadFailed):
    """No answer: refused, cut, too slow."""

    def __init__(self, reason: str, request: str = "") -> None:
        super().__init__(f"{request}: {reason}")
        self.reason = reason
        self.request = request


class ExchangeRateLimited(ReadFailed):
    """429 or 418, or a pause that an earlier one imposed: nothing was sent then."""

    def __init__(self, retry_after_s: float, request: str = "", *, banned: bool = False) -> None:
        what = "banned" if banned else "rate limited"
        super().__init__(f"{request}: {what}, again in {retry_after_s:.1f} s")
        self.retry_after_s = retry_after_s
        self.request = request
        self.banned = banned


class CredentialsMissing(ReadFailed):
    """A signed request was asked of a client that has no key."""


INVALID_SYMBOL = -1121  # one that it does not trade, or no more
UNKNOWN_ORDER = -2011  # a cancel's target
NO_SUCH_ORDER = -2013
DUPLICATE_CLIENT_ID = -4116
TIMESTAMP_OUTSIDE = -1021
TOO_MANY_ORDERS = -1015
REDUCE_ONLY_REJECTED = -2022
# -1022 bad signature, -2008 key of another environment, -2014 malformed, -2015 key/IP/permission
CREDENTIAL_CODES = frozenset({-1022, -2008, -2014, -2015})

# The exchange itself says that it does not know: -1000 an unknown error while processing,
# -1006 no sensible answer from its bus, -1007 none at all from its engine.
_DOUBTFUL_CODES = frozenset({-1000, -1006, -1007})
# -1003 too many requests, -1015 too many orders: whatever the status they come with.
_LIMIT_CODES = frozenset({-1003, TOO_MANY_ORDERS})
# -1001 internal error before processing, -1008 shed under load: documented as failed entirely.
_SHED_CODES = frozenset({-1001, -1008})
_SHED_MESSAGE = "service unavailable"
# Statuses of a front door (load balancer, firewall) that turned the request away unread.
# Others without a code, such as 408 and 409, may come from behind it.
_FRONT_DOOR = frozenset({400, 401, 403, 404, 405, 411, 413, 414, 415, 431})

_BANNED_UNTIL = re.compile(r"banned until (\d{13})\b")
_PER_INTERVAL = re.compile(r"per (\d{1,4} )?(SECOND|MINUTE|minute|second)")
_MINUTE_S = 60
_BAN_WITHOUT_END_S = 120.0  # the shortest ban the exchange imposes
_LONGEST_WAIT_S = 3 * 86400.0  # the longest one
_MAX_MSG = 200


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """`code` is None when the body is no JSON object with an integer code."""

    code: int | None
    msg: str


def read_error_body(body: bytes) -> ErrorBody:
    """Code and message, the message cleaned for logs and streams. Never raises."""
    try:
        value = decode_json(body)
    except Malformed as error:
        # An HTML page may quote the URL, and with it the query: not repeated.
        return ErrorBody(None, str(error))
    if not isinstance(value, dict):
        return ErrorBody(None, "not a JSON object")
    code, msg = value.get("code"), value.get("msg")
    return ErrorBody(
        code if isinstance(code, int) and not isinstance(code, bool) else None,
        clean_text(msg) if isinstance(msg, str) else "",
    )


def clean_text(raw: str) -> str:
    """One line of printable characters, bounded in length."""
    return " ".join("".join(c if c.isprintable() else " " for c in raw[:1000]).split())[:_MAX_MSG]


def classify_write(
    http_status: int,
    headers: Mapping[str, str],
    body: bytes,
    parse: Callable[[Any], Ack],
    now_ms: int,
) -> Outcome[Ack]:
    """The outcome that an answer to a write proves. Doubt is `Unknown`.

    `parse` turns the decoded body of a success into the acknowledgement, or raises `Malformed`.
    `now_ms` is the time on the exchange's clock, for bans that end at a given moment.
    """
    if 200 <= http_status < 300:
        return _classify_success(http_status, body, parse)
    error = read_error_body(body)
    if _is_limit(http_status, error):
        wait_s = retry_after_s(http_status, headers, error.msg, now_ms)
        return RateLimited(http_status, error.code, error.msg, wait_s, banned=http_status == 418)
    if error.code in _DOUBTFUL_CODES:
        return Unknown(error.msg, http_status, error.code)
    if error.code == DUPLICATE_CLIENT_ID:
        # A request is sent once under an id of its own: an order that holds the id is ours.
        return Unknown("an open order has this client id", http_status, error.code)
    if 400 <= http_status < 500 and http_status != 408:
        if error.code is not None and error.code < 0:
            shed = error.code in _SHED_CODES
            return Refused(http_status, error.code, error.msg, retryable=shed)
        if http_status in _FRONT_DOOR:
            return Refused(http_status, None, error.msg)
    if http_status == 503 and _is_shed(error):
        return Refused(http_status, error.code, error.msg, retryable=True)
    return Unknown(error.msg or f"HTTP {http_status}", http_status, error.code)


def _classify_success(http_status: int, body: bytes, parse: Callable[[Any], Ack]) -> Outcome[Ack]:
    try:
        return Accepted(parse(decode_json(body)))
    except Malformed as error:
        return Unknown(f"unreadable answer: {error}", http_status)


def _is_limit(http_status: int, error: ErrorBody) -> bool:
    if http_status in (418, 429):
        return True
    return 400 <= http_status < 500 and error.code in _LIMIT_CODES


def _is_shed(error: ErrorBody) -> bool:
    """Of the four kinds of 503 those that did not execute; the one left has no code."""
    if error.code is not None:
        return error.code in _SHED_CODES
    return error.msg.rstrip(".").lower() == _SHED_MESSAGE


def read_failure(
    request: str, http_status: int, headers: Mapping[str, str], body: bytes, now_ms: int
) -> ReadFailed:
    """The exception for a read that was not answered with 2xx."""
    error = read_error_body(body)
    if _is_limit(http_status, error):
        wait_s = retry_after_s(http_status, headers, error.msg, now_ms)
        return ExchangeRateLimited(wait_s, request, banned=http_status == 418)
    return ExchangeError(http_status, error.code, error.msg, request)


def retry_after_s(http_status: int, headers: Mapping[str, str], msg: str, now_ms: int) -> float:
    """How long to stay silent after a 429 or 418.

    The header if it tells of a wait, else the end that the message names, else up to the next
    boundary of the interval that was exceeded (a minute unless the message says otherwise).
    """
    header = next((v for k, v in headers.items() if k.lower() == "retry-after"), "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,3})?", header, re.ASCII) and float(header) > 0:
        return min(float(header), _LONGEST_WAIT_S)
    if banned := _BANNED_UNTIL.search(msg):
        return min(max((int(banned[1]) - now_ms) / 1000, 1.0), _LONGEST_WAIT_S)
    if http_status == 418:
        return _BAN_WITHOUT_END_S
    interval_s = float(_MINUTE_S)
    if per := _PER_INTERVAL.search(msg):
        unit_s = 1 if per[2].upper() == "SECOND" else _MINUTE_S
        interval_s = float(max(1, int(per[1] or 1)) * unit_s)
    return interval_s - (now_ms / 1000) % interval_s
