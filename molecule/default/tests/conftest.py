"""What the tests of a host share."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from testinfra.host import Host
from xdist.scheduler import LoadScopeScheduling

PASSWORDS = "/etc/quantum/redis.env"
SSH_CONFIG = Path(__file__).parents[3] / ".quantum" / "ssh_config"

AsUser = Callable[[str], redis.Redis]


class ByHost(LoadScopeScheduling):
    """All tests of a host on one worker, one after another: some reboot it."""

    def _split_scope(self, nodeid: str) -> str:
        named = re.search(r"ssh://(\w+)", nodeid)  # other parameters follow behind a hyphen
        return named[1] if named else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByHost:
    return ByHost(config, log)


def connect(port: int, user: str, password: str) -> redis.Redis:
    """A client that says at once what it is answered."""
    return redis.Redis(
        port=port,
        username=user,
        password=password,
        decode_responses=True,
        socket_timeout=10,
        retry=Retry(NoBackoff(), 0),
    )


@pytest.fixture(scope="module")
def redis_port(host: Host) -> Iterator[int]:
    """A port here that ends at the host's Redis, which is reachable from the host alone."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    tunnel = subprocess.Popen(
        ["ssh", "-F", str(SSH_CONFIG), "-N", "-o", "ExitOnForwardFailure=yes",
         "-L", f"127.0.0.1:{port}:127.0.0.1:6379", host.backend.get_hostname()],
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 20
        while not _accepts(port):
            assert tunnel.poll() is None, "ssh ended"
            assert time.monotonic() < deadline, "no tunnel to the host's Redis"
            time.sleep(0.05)
        yield port
    finally:
        tunnel.terminate()
        tunnel.wait()


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def as_user(host: Host, redis_port: int) -> Iterator[AsUser]:
    """A factory: Redis on this host, as one of its users."""
    lines = host.file(PASSWORDS).content_string.splitlines()
    passwords = dict(line.split("=", 1) for line in lines)
    clients: dict[str, redis.Redis] = {}

    def client_of(name: str) -> redis.Redis:
        if name not in clients:
            password = passwords[f"REDIS_PASSWORD_{name.upper()}"]
            clients[name] = connect(redis_port, name, password)
        return clients[name]

    yield client_of
    for client in clients.values():
        client.close()
