"""What the tests share: the host under load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts import tunnels
from stage import HOST, Stage

LOAD = Path(__file__).resolve().parents[1] / "files" / "load.py"
# Room for every order of the load.
MONEY = 5_000_000


@pytest.fixture(scope="session")
def loaded() -> Iterator[Stage]:
    """About ten plans a second arrive, whatever becomes of them."""
    with tunnels(HOST, 6379, 8091) as (redis_port, exchange_port):
        stage = Stage(redis_port, exchange_port)
        stage.exchange.deposit(MONEY)
        # The switch is tried here, not the patience of an exchange with whoever asks too much.
        stage.exchange.set_limits(weight_1m=0, orders_10s=0, orders_1m=0)
        start_load(stage)
        yield stage
        # Gone already, tunnel and all, if the host was rebooted.
        stage.run("systemctl stop quantum-load.service; rm /run/quantum-load.py", check=False)


def start_load(stage: Stage) -> None:
    stage.run("cat >/run/quantum-load.py", stdin=LOAD.read_text(encoding="utf-8"))
    start = "systemd-run --unit=quantum-load --collect /opt/quantum/current/bin/python"
    stage.run(f"{start} /run/quantum-load.py")


@pytest.fixture
def trading(loaded: Stage) -> Iterator[Stage]:
    """Orders flow when a test begins, and must flow again after it."""
    loaded.forget_orders()
    loaded.assert_trading()
    yield loaded
    loaded.exchange.clear_faults()
    released = loaded.switch("off")
    assert released.code == 0, released.text
    loaded.assert_trading(reconciling=True)
