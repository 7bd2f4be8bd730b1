"""One request over one kept-open connection, and the truth about what became of it.

Whether an order can have reached the exchange decides whether it may ever be sent again, so
it is not inferred from the kind of an exception: the connection notes when the first byte of
a request is handed to the socket. Before that: never sent. After it: lost in doubt, whatever
the error is. (By exception alone a TLS handshake that times out looks like a lost answer.)

Nothing repeats a request behind our back. urllib3 is told not to retry; redirects are not
followed; a pooled connection that the other side closed while idle is noticed before use and
opened anew, and one that closes in the very moment of sending ends in doubt.
"""

from __future__ import annotations

import functools
import logging
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import certifi
import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

MAX_BODY_BYTES = 16 * 1024 * 1024  # exchangeInfo, the largest answer, is about 1 MB
_CHUNK_BYTES = 256 * 1024

# At these levels urllib3 writes whole URLs, signature included, into the log.
logging.getLogger("urllib3").setLevel(logging.ERROR)


class NeverSent(Exception):
    """No byte of the request was given to a socket."""


class AnswerLost(Exception):
    """The request, or a part of it, is on its way; no whole answer came."""


@functools.cache
def tls_context() -> ssl.SSLContext:
    """One for the process: verifies certificate and host name against the bundled CAs.

    Left to itself each connection loads the bundle anew: 20 ms between deciding and sending,
    and 0.6 MiB kept.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certifi.where())
    return context


class _UnusableAnswer(Exception):
    """Too long or too slow to be read to its end."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes


class _Progress(threading.local):
    """Has the request that this thread is sending begun to leave?"""

    began = False


_progress = _Progress()


class _HTTPConnection(HTTPConnection):
    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        _progress.began = True
        super().send(data)


class _HTTPSConnection(HTTPSConnection):
    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        _progress.began = True
        super().send(data)


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


class WireAdapter(HTTPAdapter):
    """One connection, kept open, no retries."""

    # A silent middlebox must not turn an idle connection into a black hole for an order:
    # probes keep it known there, and a dead peer is noticed within half a minute.
    _SOCKET_OPTIONS = (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    )

    def __init__(self) -> None:
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:  # the stubs name private types here
        host, tls = super().build_connection_pool_key_attributes(request, verify, cert)
        if host["scheme"] == "https":
            tls["ssl_context"] = tls_context()
        return host, tls

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Nothing: `tls_context` verifies. The base class would load the CA bundle once more."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, socket_options=list(self._SOCKET_OPTIONS), **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}


def make_session() -> requests.Session:
    """A session that ignores proxies, netrc and CA bundles of the environment."""
    session = requests.Session()
    session.trust_env = False
    return session


class Wire:
    """Requests to one base URL over one connection. Not for use by two threads at once."""

    def __init__(
        self, session: requests.Session, base_url: str, timeout_s: float, connect_timeout_s: float
    ) -> None:
        self._base_url = base_url
        self._timeout_s = timeout_s
        self._connect_timeout_s = min(connect_timeout_s, timeout_s)
        self._adapter = WireAdapter()
        session.mount(f"{base_url}/", self._adapter)

    def exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Reply:
        """Send exactly `target` and `body`, once. Raises `NeverSent` or `AnswerLost`."""
        request = requests.PreparedRequest()
        request.method = method
        # Set past requests' own URL preparation, which would encode it once more.
        request.url = self._base_url + target
        request.headers = CaseInsensitiveDict(headers)
        request.body = body
        if body is not None:
            request.headers["Content-Length"] = str(len(body))
        _progress.began = False
        deadline = time.monotonic() + self._connect_timeout_s + self._timeout_s
        try:
            response = self._adapter.send(
                request, stream=True, timeout=(self._connect_timeout_s, self._timeout_s)
            )
            content = _read_body(response.raw, deadline)
        except (
            requests.RequestException,
            HTTPError,
            OSError,
            ValueError,
            _UnusableAnswer,
        ) as error:
            # `from None`, and no str(error): their texts quote the whole URL.
            if _progress.began:
                raise AnswerLost(describe(error)) from None
            raise NeverSent(describe(error)) from None
        return Reply(response.status_code, response.headers, content)

    def close(self) -> None:
        self._adapter.close()


def _read_body(raw: Any, deadline: float) -> bytes:
    """The whole body, bounded in size and in total time (a socket timeout bounds one read)."""
    chunks: list[bytes] = []
    size = 0
    try:
        while chunk := raw.read1(_CHUNK_BYTES, decode_content=True):
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                raise _UnusableAnswer("answer too large")
            if time.monotonic() > deadline:
                raise _UnusableAnswer("answer too slow")
    except BaseException:
        raw.close()  # gives the connection up: the rest of this answer may still come
        raise
    return b"".join(chunks)


def describe(error: BaseException) -> str:
    """The kinds of errors at work, innermost last; never their texts, which quote URLs."""
    if isinstance(error, _UnusableAnswer):
        return str(error)
    names: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(names) < 8:
        names.append(type(seen).__name__)
        inner = getattr(seen, "reason", None) or next(iter(reversed(seen.args)), None)
        seen = inner if isinstance(inner, BaseException) else seen.__cause__ or seen.__context__
    return " < ".join(dict.fromkeys(names))
