"""A peer on loopback that answers as told: properly, half, late, or not at all."""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

from quantum_exit.binance.client import Client
from quantum_exit.binance.clock import ClockSample, ExchangeClock
from quantum_exit.binance.model import Credentials
from quantum_exit.binance.rate import RateState

API_KEY = "key-canary-1f5b"
API_SECRET = "secret-canary-9c2e"  # a canary: no log and no message may ever show it

Step = Callable[["Conversation"], None]


class Conversation:
    """One request that the peer has read (or not yet), and the socket to answer on."""

    def __init__(self, sock: socket.socket, peer: Peer) -> None:
        self.sock = sock
        self.peer = peer

    def read(self) -> bytes:
        """The next whole request; empty when the client closed."""
        data = b""
        while b"\r\n\r\n" not in data:
            got = self.sock.recv(65536)
            if not got:
                return b""
            data += got
        head, _, body = data.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        while len(body) < length:
            body += self.sock.recv(65536)
        whole = head + b"\r\n\r\n" + body
        self.peer.requests.append(whole)
        return whole

    def reset(self) -> None:
        """Close so that the other side sees a reset, not an orderly end."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Peer:
    """Serves each request with the next step of its script; the last one repeats."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.released = threading.Event()  # ends every step that waits
        self._steps: queue.SimpleQueue[Step] = queue.SimpleQueue()
        self._last: Step | None = None
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def script(self, *steps: Step) -> None:
        for step in steps:
            self._steps.put(step)

    def close(self) -> None:
        self.released.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept(), which holds it open
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while sock.fileno() >= 0 and self._has_more(sock):
                self._next_step()(Conversation(sock, self))
        except (OSError, EOFError):
            sock.close()

    def _has_more(self, sock: socket.socket) -> bool:
        """Waits for the next request; a step is only taken for one that comes."""
        if self._context is not None:
            return True  # a TLS socket cannot be peeked into
        return bool(sock.recv(1, socket.MSG_PEEK))

    def _next_step(self) -> Step:
        try:
            self._last = self._steps.get_nowait()
        except queue.Empty:
            if self._last is None:
                self._last = self._steps.get(timeout=10)
        return self._last


def http(status: int, body: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {length or len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answer(status: int, value: Any, *headers: str) -> Step:
    """Read a request, answer with JSON (or the bytes given), keep the connection."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return answer_raw(http(status, body, *headers))


def answer_raw(raw: bytes, *, then_close: bool = False) -> Step:
    def step(talk: Conversation) -> None:
        if not talk.read():
            raise EOFError
        talk.sock.sendall(raw)
        if then_close:
            talk.sock.close()

    return step


def reset_after_reading(talk: Conversation) -> None:
    talk.read()
    talk.reset()


def close_after_reading(talk: Conversation) -> None:
    talk.read()
    talk.sock.close()


def silence(talk: Conversation) -> None:
    """Read the request, if there is one, and say nothing until the test is over."""
    talk.sock.settimeout(10)
    talk.read()
    talk.peer.released.wait(10)
    talk.sock.close()


def drip(raw: bytes, pause_s: float) -> Step:
    def step(talk: Conversation) -> None:
        talk.read()
        for byte in raw:
            talk.sock.sendall(bytes([byte]))
            if talk.peer.released.wait(pause_s):
                break
        talk.sock.close()

    return step


def make_client(
    url: str,
    *,
    timeout_s: float = 1.0,
    monotonic: Callable[[], float] = time.monotonic,
    clock: ExchangeClock | None = None,
    rate: RateState | None = None,
    signed: bool = True,
) -> Client:
    """A client whose clock has been read already: the exchange agrees with this machine."""
    if clock is None:
        clock = ExchangeClock()
        now = monotonic()
        clock.add(ClockSample(int(time.time() * 1000), now, now))
    return Client(
        Credentials(API_KEY, API_SECRET) if signed else None,
        url,
        clock=clock,
        rate=rate or RateState(monotonic),
        timeout_s=timeout_s,
        monotonic=monotonic,
    )


ORDER_PARAMS = {
    "symbol": "BTCUSDT",
    "side": "SELL",
    "type": "MARKET",
    "quantity": "0.01",
    "reduceOnly": "true",
    "newClientOrderId": "plan-1.1",
    "newOrderRespType": "RESULT",
}

ORDER_ANSWER = {
    "orderId": 22542179,
    "symbol": "BTCUSDT",
    "status": "FILLED",
    "clientOrderId": "plan-1.1",
    "origQty": "0.010",
    "executedQty": "0.010",
    "avgPrice": "61000.10",
    "side": "SELL",
    "type": "MARKET",
    "reduceOnly": True,
    "updateTime": 1700000000000,
}
