"""What the tests share."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from stage import HOST, SSH_CONFIG, Stage, wait_until


@contextmanager
def tunnels(*ports: int) -> Iterator[list[int]]:
    """Ports here that end at ports of the host, which are reachable from the host alone."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in ports]
    here = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    forwards = [
        f"-L127.0.0.1:{mine}:127.0.0.1:{theirs}" for mine, theirs in zip(here, ports, strict=True)
    ]
    process = subprocess.Popen(
        ["ssh", "-F", str(SSH_CONFIG), "-N", "-o", "ExitOnForwardFailure=yes", *forwards, HOST]
    )
    try:
        for mine in here:
            wait_until("a tunnel to the host", lambda port=mine: _accepts(port))
        yield here
    finally:
        process.terminate()
        process.wait()


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("control") / "files"
    folder.mkdir()
    with tunnels(6379, 8091) as (redis_port, exchange_port):
        made = Stage(redis_port, exchange_port, folder)
        made.exchange.deposit(1_000_000)
        made.lift_limits()
        made.assert_fit()
        yield made
