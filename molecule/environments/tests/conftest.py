"""What the tests share: the host, its two exchanges, and ways to reach them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts import tunnels, wait_until
from stage import FAR, HOST, SOURCE_NAMES, Stage

PORTS = {"redis": 6379, "testnet": 8091, "mainnet": 8092}


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The host with a second exchange, in which what is deployed has no part."""
    with tunnels(HOST, *PORTS.values()) as ports:
        stage = Stage(
            dict(zip(PORTS, ports, strict=True)), Path(tmp_path_factory.mktemp("operator"))
        )
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
