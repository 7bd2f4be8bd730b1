"""Timeouts of a socket that the kernel keeps.

To keep a timeout of its own Python asks poll() before each call and gives up the interpreter
for it, and again to set one. Beside busy threads getting it back costs more than the call.
"""

from __future__ import annotations

import socket
import struct
from typing import Final

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


def _timeval(timeout_s: float) -> bytes:
    seconds, rest_s = divmod(max(timeout_s, _LEAST_S), 1)
    return struct.pack("@ll", int(seconds), int(rest_s * 1e6))
