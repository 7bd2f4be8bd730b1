"""One signed read of the exchange, with nothing but the standard library.

For hosts that have no release yet. A secret goes into the signature and nowhere else: not into a
URL, a message or another host (no redirect is followed, no proxy used).
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import time
import urllib.parse
from decimal import Decimal, InvalidOperation

DEFAULT_URLS = {"mainnet": "https://fapi.binance.com", "testnet": "https://demo-fapi.binance.com"}
POSITIONS = "/fapi/v3/positionRisk"
TIMEOUT_S = 5
RECV_WINDOW_MS = 5000
MOST_BYTES = 5_000_000
# What the exchange answers when the fault is the key's, or its secret's.
KEY_REJECTED = frozenset({-1002, -1022, -2008, -2014, -2015})
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class ReadError(Exception):
    """The exchange could not be asked, or its answer is none."""


class RejectedError(ReadError):
    """The exchange answered that it does not accept this key."""


def exchange_url(base_url: str, environment: str) -> str:
    """The given address, or that of the environment."""
    return base_url.strip().rstrip("/") or DEFAULT_URLS[environment]


def open_positions(base_url: str, key: str, secret: str) -> dict[str, str]:
    """Signed amount of each position that is not flat, as the exchange writes it, by symbol."""
    rows = signed_get(base_url, POSITIONS, key, secret)
    if not isinstance(rows, list):
        raise ReadError(f"{base_url}: the answer is no list of positions")
    try:
        amounts = {str(row["symbol"]): str(row["positionAmt"]) for row in rows}
        return {symbol: text for symbol, text in amounts.items() if Decimal(text) != 0}
    except (KeyError, TypeError, InvalidOperation):
        raise ReadError(f"{base_url}: a position in the answer cannot be read") from None


def signed_get(base_url: str, path: str, key: str, secret: str) -> object:
    """The decoded answer. Raises ReadError, RejectedError when the fault is the key's."""
    parts = urllib.parse.urlsplit(base_url)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise ReadError(f"{base_url}: a key is not sent there without TLS")
    query = f"recvWindow={RECV_WINDOW_MS}&timestamp={int(time.time() * 1000)}"
    signature = hmac.new(secret.encode(), query.encode(), hashlib.sha256).hexdigest()
    target = f"{parts.path}{path}?{query}&signature={signature}"
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    try:
        connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
        try:
            connection.request("GET", target, headers={"X-MBX-APIKEY": key})
            answer = connection.getresponse()
            body = answer.read(MOST_BYTES)
        finally:
            connection.close()
    except OSError as error:
        raise ReadError(f"{base_url}: {error.strerror or type(error).__name__}") from None
    except (ValueError, http.client.HTTPException) as error:
        # Not its text: a header that cannot be sent is quoted there, and it is the key.
        raise ReadError(f"{base_url}: {type(error).__name__}") from None
    return _decoded(base_url, answer.status, body)


def _decoded(base_url: str, status: int, body: bytes) -> object:
    try:
        document = json.loads(body)
    except ValueError:
        raise ReadError(f"{base_url}: HTTP {status}, and no JSON") from None
    if status == http.client.OK:
        return document
    code = document.get("code") if isinstance(document, dict) else None
    if code in KEY_REJECTED:
        raise RejectedError(f"{base_url} answers {code}")
    raise ReadError(f"{base_url} answers {code}, HTTP {status}")
