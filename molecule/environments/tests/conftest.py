"""What the tests share: the host, its two exchanges, and ways to reach them."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from stage import FAR, HOST, SOURCE_NAMES, SSH_CONFIG, Stage, wait_until

PORTS = {"redis": 6379, "testnet": 8091, "mainnet": 8092}


@contextlib.contextmanager
def tunnels() -> Iterator[dict[str, int]]:
    """Ports here that end at ports of the host, which are reachable from the host alone."""
    sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in PORTS}
    here = {name: each.getsockname()[1] for name, each in sockets.items()}
    for each in sockets.values():
        each.close()
    forwards = [f"-L127.0.0.1:{here[name]}:127.0.0.1:{PORTS[name]}" for name in PORTS]
    process = subprocess.Popen(
        ["ssh", "-F", str(SSH_CONFIG), "-N", "-o", "ExitOnForwardFailure=yes", *forwards, HOST],
        stdin=subprocess.DEVNULL,
    )
    try:
        for name, port in here.items():
            wait_until(f"a tunnel to {name}", lambda port=port: _accepts(port))
        yield here
    finally:
        process.terminate()
        process.wait()


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The host with a second exchange, in which what is deployed has no part."""
    with tunnels() as ports:
        stage = Stage(ports, Path(tmp_path_factory.mktemp("operator")))
        settings = zip(SOURCE_NAMES, stage.keys.values(), strict=True)
        words = [f"--setenv=PAPER_EXCHANGE_{name}={value}" for name, value in settings]
        launch = "/opt/quantum/paper/current/bin/launch paper_exchange --port 8092"
        stage.run(f"systemd-run --unit={FAR} --collect {' '.join(words)} {launch}")
        wait_until("the second exchange answers", lambda: answers(stage))
        for exchange in stage.exchange.values():
            # One deployment after another asks for more than an address may in a minute.
            exchange.set_limits(weight_1m=0, orders_10s=0, orders_1m=0)
        yield stage
        stage.run(f"systemctl stop {FAR}")


def answers(stage: Stage) -> bool:
    try:
        return stage.exchange["mainnet"].now_ms() > 0
    except OSError:
        return False
