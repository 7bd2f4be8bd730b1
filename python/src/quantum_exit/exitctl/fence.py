"""When no order that is on its way can be accepted any more.

An order is signed with the exchange's time, never ahead of it, and the exchange refuses it
once its own clock has passed `timestamp + recvWindow`: its fence. Pure but for the reader
of the exchange's clock at the end.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from quantum_exit.binance.clock import ClockSample, ExchangeClock

MAX_RECV_WINDOW_MS: Final = 59_999
_READ_TIMEOUT_S: Final = 0.7
_READ_EVERY_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class OpenGrant:
    """An order that was granted and not settled: it may be anywhere between here and there."""

    field: str
    plan_id: str
    text: str
    timestamp_ms: int
    recv_window_ms: int

    @property
    def fence_ms(self) -> int:
        return self.timestamp_ms + self.recv_window_ms


@dataclass(frozen=True, slots=True)
class OpenGrants:
    """What the hash of open grants says. `unreadable`: fields whose fence nobody can tell."""

    orders: tuple[OpenGrant, ...]
    unreadable: tuple[str, ...]


def parse_grants(raw: Mapping[bytes, bytes]) -> OpenGrants:
    """Cancellations are left out: they place no order."""
    orders: list[OpenGrant] = []
    unreadable: list[str] = []
    for name, value in raw.items():
        field = name.decode(errors="replace")
        try:
            grant = json.loads(value)
            if grant.get("type") != "CANCEL":
                orders.append(_order(field, grant))
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
            unreadable.append(field)
    return OpenGrants(tuple(orders), tuple(unreadable))


def _order(field: str, grant: Mapping[str, object]) -> OpenGrant:
    timestamp_ms, window_ms = grant["timestamp_ms"], grant["recv_window_ms"]
    if not isinstance(timestamp_ms, int) or not isinstance(window_ms, int):
        raise TypeError("timestamp_ms and recv_window_ms are whole numbers")
    words = [str(grant.get(name, "?")) for name in ("symbol", "side", "type", "qty")]
    ids = f"plan {grant.get('plan_id', '?')} of {grant.get('source', '?')}"
    return OpenGrant(
        field=field,
        plan_id=str(grant.get("plan_id", "?")),
        text=f"{' '.join(words)} ({ids}, client id {grant.get('client_order_id', '?')})",
        timestamp_ms=timestamp_ms,
        recv_window_ms=min(max(window_ms, 0), MAX_RECV_WINDOW_MS),
    )


def is_dead(grant: OpenGrant, first_reading_ms: int, earliest_ms: int) -> bool:
    """`first_reading_ms`: the exchange's clock read after the switch was set, an upper bound
    for every timestamp signed before; `earliest_ms`: what its clock has passed for certain."""
    signed_ms = min(grant.timestamp_ms, first_reading_ms + 1)
    return earliest_ms > signed_ms + grant.recv_window_ms


class ExchangeTime(threading.Thread):
    """Reads the exchange's clock in the background until stopped; `error` says why it cannot.

    In a thread, because an exchange that hangs must not hide that an order was settled.
    """

    def __init__(self, base_url: str) -> None:
        super().__init__(daemon=True)
        self.clock = ExchangeClock()
        self.first_reading_ms: int | None = None
        self.error = "not read yet"
        self._base_url = base_url
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.is_set():
            try:
                sample = read_exchange_time(self._base_url)
            except (OSError, ValueError) as error:
                self.error = f"{self._base_url}: {error or type(error).__name__}"
            else:
                self.clock.add(sample)
                if self.first_reading_ms is None:
                    self.first_reading_ms = sample.server_ms
            self._done.wait(_READ_EVERY_S)

    def stop(self) -> None:
        self._done.set()


def read_exchange_time(base_url: str, timeout_s: float = _READ_TIMEOUT_S) -> ClockSample:
    """One reading of GET /fapi/v1/time. Raises OSError or ValueError."""
    import http.client  # only here: most of the time nothing is in flight

    parts = urlsplit(base_url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        connection.connect()
        sent_mono = time.monotonic()
        connection.request("GET", f"{parts.path.rstrip('/')}/fapi/v1/time")
        body = connection.getresponse().read(10_000)
        got_mono = time.monotonic()
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP answer: {type(error).__name__}") from None
    finally:
        connection.close()
    document = json.loads(body)
    server_ms = document.get("serverTime") if isinstance(document, dict) else None
    if not isinstance(server_ms, int):
        raise ValueError("the answer holds no serverTime")
    return ClockSample(server_ms, sent_mono, got_mono)
