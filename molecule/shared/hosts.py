"""What the tests of several scenarios do with their host. On their path by molecule.yml."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SSH_CONFIG = ROOT / ".quantum" / "ssh_config"


def wait_until(
    what: str, condition: Callable[[], object], timeout_s: float = 30, every_s: float = 0.05
) -> None:
    """Polls until `condition()` is true; fails naming `what` when it never is."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(every_s)


@contextmanager
def tunnels(host: str, *ports: int) -> Iterator[list[int]]:
    """Ports here that end at ports of the host, which are reachable from the host alone."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in ports]
    here = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    forwards = [
        f"-L127.0.0.1:{mine}:127.0.0.1:{theirs}" for mine, theirs in zip(here, ports, strict=True)
    ]
    process = subprocess.Popen(
        ["ssh", "-F", str(SSH_CONFIG), "-N", "-o", "ExitOnForwardFailure=yes", *forwards, host],
        stdin=subprocess.DEVNULL,
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
