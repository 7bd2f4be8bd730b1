"""Signing: one encoded string is built, exactly those bytes are signed, exactly those are sent."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

_RESERVED = frozenset({"timestamp", "recvWindow", "signature"})


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request that is signed once and sent at most once.

    `body_or_query` goes into the form body of a POST and into the query of anything else.
    After `timestamp_ms + recv_window_ms` on its clock the exchange refuses it (`fence_ms`).
    """

    method: str
    path: str
    body_or_query: str = field(repr=False)
    timestamp_ms: int
    recv_window_ms: int
    symbol: str = ""
    client_id: str = ""

    @property
    def fence_ms(self) -> int:
        return self.timestamp_ms + self.recv_window_ms


def encode(params: Mapping[str, str]) -> str:
    """`params` as a query string; all but unreserved characters percent-encoded.

    What is encoded like this no HTTP library normalises to something else on the way.
    """
    return urlencode(params, quote_via=quote, safe="")


def signature(secret: str, payload: str) -> str:
    """HMAC-SHA256 of the payload in lower-case hex."""
    return hmac.new(secret.encode(), payload.encode("ascii"), hashlib.sha256).hexdigest()


def sign(
    secret: str,
    method: str,
    path: str,
    params: Mapping[str, str],
    *,
    timestamp_ms: int,
    recv_window_ms: int,
) -> SignedRequest:
    """`ValueError` for a parameter that only signing may set, or a window outside 1..59999."""
    if _RESERVED & params.keys():
        raise ValueError(f"set by signing alone: {sorted(_RESERVED & params.keys())}")
    if not 1 <= recv_window_ms < 60_000:
        raise ValueError(f"recvWindow {recv_window_ms} ms is outside 1..59999")
    payload = encode({**params, "recvWindow": str(recv_window_ms), "timestamp": str(timestamp_ms)})
    return SignedRequest(
        method=method,
        path=path,
        body_or_query=f"{payload}&signature={signature(secret, payload)}",
        timestamp_ms=timestamp_ms,
        recv_window_ms=recv_window_ms,
        symbol=params.get("symbol", ""),
        client_id=_client_id(params),
    )


def _client_id(params: Mapping[str, str]) -> str:
    names = ("newClientOrderId", "origClientOrderId", "clientAlgoId")
    return next((params[name] for name in names if name in params), "")
