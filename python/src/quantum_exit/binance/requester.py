"""How a request goes out and how its answer is judged; the endpoints are in `client`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from quantum_exit.binance import signing
from quantum_exit.binance.clock import ClockSample, ClockUnknown, ExchangeClock
from quantum_exit.binance.errors import (
    TIMESTAMP_OUTSIDE,
    TOO_MANY_ORDERS,
    CredentialsMissing,
    ExchangeError,
    ExchangeRateLimited,
    ExchangeUnreachable,
    NotSent,
    Outcome,
    RateLimited,
    Unknown,
    classify_write,
    read_failure,
)
from quantum_exit.binance.fields import Malformed, as_object, decode_json, whole
from quantum_exit.binance.model import Credentials
from quantum_exit.binance.rate import RateState
from quantum_exit.binance.signing import SignedRequest
from quantum_exit.binance.transport import AnswerLost, NeverSent, Reply, Wire

Value = TypeVar("Value")

# A read does no harm when it is late; the exchange's own default spares it needless refusals.
READ_RECV_WINDOW_MS = 5000
_TIME_PATH = "/fapi/v1/time"
_FORM = "application/x-www-form-urlencoded"


class Requester:
    """Signed and unsigned requests of one thread. `timeout_s` bounds each wait for an answer."""

    def __init__(
        self,
        credentials: Credentials | None,
        base_url: str,
        *,
        clock: ExchangeClock,
        rate: RateState | None = None,
        recv_window_ms: int = 1000,
        timeout_s: float = 5.0,
        connect_timeout_s: float = 2.0,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.clock = clock
        self.rate = rate if rate is not None else RateState(monotonic)
        self.recv_window_ms = recv_window_ms
        self._credentials = credentials
        self._monotonic = monotonic
        self._wall = wall
        self._wire = Wire(base_url, timeout_s, connect_timeout_s)
        self._headers = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "Connection": "keep-alive",
            "User-Agent": "quantum-exit",
        }
        if credentials is not None:
            self._headers["X-MBX-APIKEY"] = credentials.api_key

    def close(self) -> None:
        self._wire.close()

    def now_mono(self) -> float:
        """Now, on the clock that `clock` wants its moments on."""
        return self._monotonic()

    # Reads

    def get(self, path: str, params: Mapping[str, str], decode: Callable[[bytes], Value]) -> Value:
        """An unsigned read. Raises `ReadFailed`."""
        query = signing.encode(params)
        reply = self._read("GET", path, f"{path}?{query}" if query else path)
        return _decoded("GET", path, reply, decode)

    def get_signed(
        self, path: str, params: Mapping[str, str], decode: Callable[[bytes], Value]
    ) -> Value:
        """A signed read. Raises `ReadFailed`."""
        return self._signed("GET", path, params, decode)

    def change(
        self, path: str, params: Mapping[str, str], decode: Callable[[bytes], Value]
    ) -> Value:
        """A signed POST that may safely be repeated (a setting). Raises `ReadFailed`."""
        return self._signed("POST", path, params, decode)

    def sync_clock(self, samples: int = 2) -> None:
        """Read the exchange's clock; the first reading may have paid for a new connection."""
        for _ in range(samples):
            sent = self._monotonic()
            server_ms = self.get(_TIME_PATH, {}, _server_time)
            self.clock.add(ClockSample(server_ms, sent, self._monotonic()))

    def server_time(self) -> int:
        """The exchange's time in Unix ms, some network delay ago."""
        return self.get(_TIME_PATH, {}, _server_time)

    # Writes

    def sign(
        self, method: str, path: str, params: Mapping[str, str], timestamp_ms: int
    ) -> SignedRequest:
        """Sign for the moment `timestamp_ms` on the exchange's clock."""
        return self._sign(method, path, params, timestamp_ms, self.recv_window_ms)

    def write(self, request: SignedRequest, parse: Callable[[Any], Value]) -> Outcome[Value]:
        """Send once, never again; every way it can end is an `Outcome`."""
        pause = self.rate.paused(order=request.method == "POST")
        if pause is not None:
            why = "paused by an earlier answer of the exchange"
            return RateLimited(pause.http_status, None, why, pause.remaining_s, pause.banned)
        if self._fence_has_passed(request):
            return NotSent("its time window has passed")
        try:
            reply = self._send(request)
        except NeverSent as error:
            return NotSent(f"{request.method} {request.path}: {error}")
        except AnswerLost as error:
            return Unknown(f"{request.method} {request.path}: {error}")
        outcome = classify_write(reply.status, reply.headers, reply.body, parse, self._now_ms())
        if isinstance(outcome, RateLimited):
            orders_only = outcome.code == TOO_MANY_ORDERS
            self.rate.pause(outcome.retry_after_s, reply.status, orders_only=orders_only)
        return outcome

    # Inside

    def _signed(
        self, method: str, path: str, params: Mapping[str, str], decode: Callable[[bytes], Value]
    ) -> Value:
        """Reads the exchange's clock first if that has not been done lately, and once more if
        the exchange finds the timestamp wrong: this machine may have slept."""
        if not self.clock.fresh(self._monotonic()):
            self.sync_clock()
        try:
            return self._signed_now(method, path, params, decode)
        except ExchangeError as error:
            if error.code != TIMESTAMP_OUTSIDE:
                raise
        self.sync_clock()
        return self._signed_now(method, path, params, decode)

    def _signed_now(
        self, method: str, path: str, params: Mapping[str, str], decode: Callable[[bytes], Value]
    ) -> Value:
        now_ms = self.clock.earliest_ms(self._monotonic())
        request = self._sign(method, path, params, now_ms, READ_RECV_WINDOW_MS)
        target, body = _placed(request)
        return _decoded(method, path, self._read(method, path, target, body), decode)

    def _sign(
        self, method: str, path: str, params: Mapping[str, str], at_ms: int, window_ms: int
    ) -> SignedRequest:
        if self._credentials is None:
            raise CredentialsMissing(f"{method} {path} needs an API key")
        return signing.sign(
            self._credentials.api_secret,
            method,
            path,
            params,
            timestamp_ms=at_ms,
            recv_window_ms=window_ms,
        )

    def _read(self, method: str, path: str, target: str, body: bytes | None = None) -> Reply:
        where = f"{method} {path}"
        pause = self.rate.paused(order=False)
        if pause is not None:
            raise ExchangeRateLimited(pause.remaining_s, where, banned=pause.banned)
        try:
            reply = self._exchange(method, target, body)
        except (NeverSent, AnswerLost) as error:
            raise ExchangeUnreachable(str(error), where) from None
        if 200 <= reply.status < 300:
            return reply
        failure = read_failure(where, reply.status, reply.headers, reply.body, self._now_ms())
        if isinstance(failure, ExchangeRateLimited):
            self.rate.pause(failure.retry_after_s, reply.status)
        raise failure

    def _send(self, request: SignedRequest) -> Reply:
        target, body = _placed(request)
        return self._exchange(request.method, target, body)

    def _exchange(self, method: str, target: str, body: bytes | None) -> Reply:
        headers = self._headers if body is None else {**self._headers, "Content-Type": _FORM}
        reply = self._wire.exchange(method, target, headers, body)
        self.rate.note_headers(reply.headers)
        return reply

    def _fence_has_passed(self, request: SignedRequest) -> bool:
        try:
            return self.clock.earliest_ms(self._monotonic()) > request.fence_ms
        except ClockUnknown:
            return False

    def _now_ms(self) -> int:
        try:
            return self.clock.earliest_ms(self._monotonic())
        except ClockUnknown:
            return int(self._wall() * 1000)


def _placed(request: SignedRequest) -> tuple[str, bytes | None]:
    """Where the signed string goes: the body of a POST, the query of anything else."""
    if request.method == "POST":
        return request.path, request.body_or_query.encode("ascii")
    return f"{request.path}?{request.body_or_query}", None


def _decoded(method: str, path: str, reply: Reply, decode: Callable[[bytes], Value]) -> Value:
    try:
        return decode(reply.body)
    except Malformed as error:
        where = f"{method} {path}"
        raise ExchangeError(reply.status, None, f"unreadable answer: {error}", where) from None


def _server_time(body: bytes) -> int:
    server_ms = whole(as_object(decode_json(body)), "serverTime")
    if server_ms <= 0:
        raise Malformed("serverTime: not above zero")
    return server_ms
