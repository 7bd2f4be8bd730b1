"""One request over one kept-open connection, and the truth about what became of it.

Whether an order can have reached the exchange decides whether it may ever be sent again, so
it is not inferred from the kind of an exception: a request is noted as begun when its first
byte is handed to the socket, and an open socket comes before that. Until then: never sent.
After it: lost in doubt, whatever the error is. (By exception alone a TLS handshake that times
out looks like a lost answer.)

Nothing repeats a request behind our back and nothing is followed. A kept connection that the
other side closed while idle is noticed before use and opened anew, and one that closes in the
very moment of sending ends in doubt.

It stands on `http.client` alone: a session of `requests` costs 0.2 ms of processor time an
order and 5 MiB in each service, for retries, redirects, cookies and proxies that an order
must not meet.
"""

from __future__ import annotations

import functools
import select
import socket
import ssl
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Final, cast
from urllib.parse import urlsplit

import certifi

from quantum_exit.sockets import Incoming, bound_by_kernel

MAX_BODY_BYTES: Final = 16 * 1024 * 1024  # exchangeInfo, the largest answer, is about 1 MB
_CHUNK_BYTES: Final = 256 * 1024
_GZIP: Final = 16 + zlib.MAX_WBITS
# A silent middlebox must not turn an idle connection into a black hole for an order:
# probes keep it known there, and a dead peer is noticed within half a minute.
_SOCKET_OPTIONS: Final = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)


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
    """Too long, cut short, or packed in a way we did not ask for."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    """Case-insensitive."""
    body: bytes


class Wire:
    """Requests to one base URL over one connection. Not for use by two threads at once."""

    def __init__(
        self, base_url: str, timeout_s: float, connect_timeout_s: float, *, by_kernel: bool = True
    ) -> None:
        """`timeout_s` bounds each wait for a piece of an answer, and with `connect_timeout_s`
        added the whole request. `by_kernel`: the faster way to keep the former."""
        parts = urlsplit(base_url)
        self._tls = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._address = (self._host, parts.port or (443 if self._tls else 80))
        self._prefix = parts.path.rstrip("/")
        self._host_header = parts.netloc.rpartition("@")[2]
        self._timeout_s = timeout_s
        self._connect_timeout_s = min(connect_timeout_s, timeout_s)
        self._by_kernel = by_kernel
        self._sock: socket.socket | None = None
        self._poll = select.poll()

    def exchange(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        status_only: bool = False,
    ) -> Reply:
        """Send exactly `target` and `body`, once. `status_only`: what the answer says beyond its
        headers is not waited for, and not in the reply. Raises `NeverSent` or `AnswerLost`."""
        deadline = time.monotonic() + self._connect_timeout_s + self._timeout_s
        try:
            request = self._request(method, target, headers, body)
            sock = self._connection()
        except (OSError, ValueError) as error:
            # `from None`, and no str(error): their texts may quote the whole URL.
            raise NeverSent(describe(error)) from None
        try:
            sock.sendall(request)
            return self._read(sock, method, deadline, status_only)
        except (OSError, HTTPException, ValueError, zlib.error, _UnusableAnswer) as error:
            self.close()  # the rest of this answer may still come
            raise AnswerLost(describe(error)) from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _request(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None
    ) -> bytes:
        """Its bytes. Raises ValueError for what could be read as more than one line."""
        lines = [f"{method} {self._prefix}{target} HTTP/1.1", f"Host: {self._host_header}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        if not all(line.isprintable() for line in lines) or lines[0].count(" ") != 2:
            raise ValueError("not a request line, or not a header")
        return "\r\n".join((*lines, "", "")).encode("ascii") + (body or b"")

    def _connection(self) -> socket.socket:
        """The kept one, unless it was closed or spoken on while nobody had asked."""
        sock = self._sock
        if sock is not None and not self._poll.poll(0):
            return sock
        self.close()
        self._sock = self._open()
        self._poll = select.poll()  # select() cannot wait for a descriptor above 1,023
        self._poll.register(self._sock, select.POLLIN)
        return self._sock

    def _open(self) -> socket.socket:
        sock = socket.create_connection(self._address, self._connect_timeout_s)
        try:
            for option in _SOCKET_OPTIONS:
                sock.setsockopt(*option)
            if self._tls:
                sock = tls_context().wrap_socket(sock, server_hostname=self._host)
            sock.settimeout(self._timeout_s)
            if self._by_kernel:
                bound_by_kernel(sock)
        except BaseException:
            sock.close()
            raise
        return sock

    def _read(self, sock: socket.socket, method: str, deadline: float, status_only: bool) -> Reply:
        incoming = cast(socket.socket, Incoming(sock, self._timeout_s, deadline))
        with HTTPResponse(incoming, method=method) as response:
            response.begin()
            content = b"" if status_only else _read_body(response)
            if response.will_close or (status_only and response.length != 0):
                self.close()
            headers = cast(Mapping[str, str], response.headers)
            return Reply(response.status, headers, content)


def _read_body(response: HTTPResponse) -> bytes:
    """The whole body, unpacked, and no more than a bounded size of it."""
    packing = response.headers.get("Content-Encoding", "identity").strip().lower()
    if packing not in ("identity", "gzip"):
        raise _UnusableAnswer("answer in another encoding")
    unpacker = zlib.decompressobj(_GZIP) if packing == "gzip" else None
    expected = response.length  # None: told by its chunks, or by the end of the connection
    chunks: list[bytes] = []
    received = size = 0
    while expected is None or received < expected:
        most = _CHUNK_BYTES if expected is None else min(_CHUNK_BYTES, expected - received)
        piece = response.read1(most)
        if not piece:
            break
        received += len(piece)
        if unpacker is not None:
            piece = unpacker.decompress(piece, MAX_BODY_BYTES - size + 1)
        chunks.append(piece)
        size += len(piece)
        if size > MAX_BODY_BYTES:
            raise _UnusableAnswer("answer too large")
    if received < (expected or 0) or (received and unpacker is not None and not unpacker.eof):
        raise _UnusableAnswer("answer cut short")
    return b"".join(chunks)


def describe(error: BaseException) -> str:
    """The kinds of errors at work, innermost last; never their texts, which quote URLs."""
    if isinstance(error, _UnusableAnswer):
        return str(error)
    names: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(names) < 8:
        names.append(type(seen).__name__)
        inner = next(iter(reversed(seen.args)), None)
        seen = inner if isinstance(inner, BaseException) else seen.__cause__ or seen.__context__
    return " < ".join(dict.fromkeys(names))
