"""Timeouts of a socket that the kernel keeps.

To keep a timeout of its own Python asks poll() before each call and gives up the interpreter
for it, and again to set one. Beside busy threads getting it back costs more than the call.
"""

from __future__ import annotations

import io
import socket
import struct
import time
from typing import Any, Final

_LEAST_S: Final = 0.001
"""Zero would be for ever."""


def bound_by_kernel(sock: socket.socket) -> None:
    """Hands the socket's timeout to the kernel: each wait is as bounded as before, and ends in
    an OSError (BlockingIOError, or SSLWantReadError under TLS)."""
    timeout_s = sock.gettimeout()
    if timeout_s:
        bound_reads(sock, timeout_s)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(timeout_s))
        sock.settimeout(None)


def bound_reads(sock: socket.socket, timeout_s: float) -> None:
    """How long one read of a socket that is bound by the kernel may wait."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(timeout_s))


class Incoming(io.RawIOBase):
    """What a socket receives, bounded in total time too: its timeout bounds one read alone.
    Raises TimeoutError at `deadline`, by the monotonic clock.

    One read of a record of TLS may be many of the socket: bound by the kernel, each of them has
    the whole timeout, and by Python all of them together.
    """

    def __init__(self, sock: socket.socket, timeout_s: float, deadline: float) -> None:
        self._sock = sock
        self._timeout_s = timeout_s
        self._deadline = deadline
        self._bound = bound_reads if sock.gettimeout() is None else socket.socket.settimeout

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("too slow")
        if left_s >= self._timeout_s:
            return self._sock.recv_into(buffer)
        self._bound(self._sock, left_s)
        try:
            return self._sock.recv_into(buffer)
        finally:
            self._bound(self._sock, self._timeout_s)


def _timeval(timeout_s: float) -> bytes:
    seconds, rest_s = divmod(max(timeout_s, _LEAST_S), 1)
    return struct.pack("@ll", int(seconds), int(rest_s * 1e6))
