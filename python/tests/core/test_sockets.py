"""A wait is bounded by the kernel exactly when it was bounded by Python."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
import redis

from quantum_exit.bus.line import Line
from quantum_exit.sockets import bound_by_kernel, bound_reads


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_a_read_ends_though_nobody_speaks(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = pair
    ours.settimeout(0.2)
    bound_by_kernel(ours)
    assert ours.gettimeout() is None
    began = time.monotonic()
    with pytest.raises(BlockingIOError):
        ours.recv(1)
    assert 0.15 < time.monotonic() - began < 5


def test_a_write_ends_though_nobody_listens(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = pair
    ours.settimeout(0.2)
    bound_by_kernel(ours)
    with pytest.raises(BlockingIOError):
        ours.sendall(bytes(50_000_000))


def test_a_shorter_bound_for_one_read(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = pair
    ours.settimeout(60)
    bound_by_kernel(ours)
    bound_reads(ours, 0)  # not for ever
    with pytest.raises(BlockingIOError):
        ours.recv(1)


def test_a_silent_redis_is_an_error_not_a_hang() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = redis.Redis(
            port=port,
            socket_timeout=0.2,
            protocol=2,
            driver_info=None,
            retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0),
        )
        began = time.monotonic()
        with pytest.raises(redis.RedisError):
            Line(client).call("PING")
        assert time.monotonic() - began < 5
