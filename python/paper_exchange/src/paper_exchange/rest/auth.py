"""Who asks, and is the request what they signed, and recent."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from enum import Enum

from ..domain import refusals
from ..domain.refusals import Refused
from .params import Params

DEFAULT_RECV_WINDOW_MS = 5_000
MAX_RECV_WINDOW_MS = 60_000
_AHEAD_MS = 1_000
_MARK = "signature="


class Right(Enum):
    """What an endpoint asks for."""

    NONE = "none"
    KEY = "key"
    READ = "read"
    TRADE = "trade"


@dataclass(frozen=True, slots=True)
class Credential:
    name: str
    api_key: str
    secret: str = field(repr=False)
    may_trade: bool


@dataclass(frozen=True, slots=True)
class Window:
    """When a request was signed and for how long it is good, in epoch and plain ms."""

    timestamp_ms: int
    recv_window_ms: int

    def is_past(self, now_ms: int) -> bool:
        return now_ms - self.timestamp_ms > self.recv_window_ms

    def is_ahead(self, now_ms: int) -> bool:
        return self.timestamp_ms >= now_ms + _AHEAD_MS


class Keyring:
    """The keys the exchange knows. Tests may revoke and add some while it runs."""

    def __init__(self, credentials: list[Credential]) -> None:
        self._configured = {c.api_key: c for c in credentials}
        self._by_key = dict(self._configured)

    def reset(self) -> None:
        """Back to the configured keys."""
        self._by_key = dict(self._configured)

    def add(self, credential: Credential) -> None:
        self._by_key[credential.api_key] = credential

    def revoke(self, api_key: str) -> bool:
        return self._by_key.pop(api_key, None) is not None

    def added(self) -> list[Credential]:
        """Keys that differ from the configuration."""
        return [c for k, c in self._by_key.items() if self._configured.get(k) != c]

    def revoked(self) -> set[str]:
        return set(self._configured) - set(self._by_key)

    def names(self) -> list[dict[str, object]]:
        return [
            {"name": c.name, "api_key": c.api_key, "may_trade": c.may_trade}
            for c in self._by_key.values()
        ]

    def identify(self, api_key: str | None, right: Right, address: str) -> Credential:
        """Raises Refused: -2014 without a key, -2015 for one that is unknown or may not."""
        if not api_key:
            raise Refused(-2014, "API-key format invalid.", 401)
        credential = self._by_key.get(api_key)
        if credential is None or (right is Right.TRADE and not credential.may_trade):
            raise Refused(
                -2015,
                f"Invalid API-key, IP, or permissions for action, request ip: {address}",
                401,
            )
        return credential


def read_window(params: Params) -> Window:
    timestamp_ms = params.integer("timestamp")
    recv_window_ms = params.optional_integer("recvWindow")
    if recv_window_ms is None:
        recv_window_ms = DEFAULT_RECV_WINDOW_MS
    if recv_window_ms >= MAX_RECV_WINDOW_MS:
        raise Refused(-1131, "recvWindow must be less than 60000")
    return Window(timestamp_ms, recv_window_ms)


def check_window(window: Window, now_ms: int) -> None:
    """At the door. Raises Refused."""
    if window.is_ahead(now_ms):
        raise Refused(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if window.is_past(now_ms):
        raise Refused(-1021, "Timestamp for this request is outside of the recvWindow.")


def check_engine_window(window: Window, now_ms: int) -> None:
    """Once more where the order is executed: what waited too long is dead. Raises Refused."""
    if window.is_past(now_ms) or window.is_ahead(now_ms):
        raise refusals.engine_window()


def check_signature(credential: Credential, query: str, body: str) -> None:
    """HMAC-SHA256 over query and body, without anything between them. Raises Refused.

    The signature is the last parameter of the query or of the body; elsewhere it is not valid.
    """
    signed_query, in_query = _split(query)
    signed_body, in_body = _split(body)
    given = in_query or in_body
    if not given and _MARK not in query + body:
        raise refusals.missing("signature")
    expected = hmac.new(
        credential.secret.encode(), (signed_query + signed_body).encode(), hashlib.sha256
    ).hexdigest()
    if not hmac.compare_digest(expected.encode(), given.lower().encode()):
        raise Refused(-1022, "Signature for this request is not valid.")


def _split(text: str) -> tuple[str, str]:
    """What was signed, and the signature where it is the last parameter."""
    head, _, last = text.rpartition("&")
    if last.startswith(_MARK):
        return head, last[len(_MARK) :]
    return text, ""
