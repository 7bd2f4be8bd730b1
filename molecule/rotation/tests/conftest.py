"""What the tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts import tunnels
from stage import HOST, Stage


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("control") / "files"
    folder.mkdir()
    with tunnels(HOST, 6379, 8091) as (redis_port, exchange_port):
        made = Stage(redis_port, exchange_port, folder)
        made.exchange.deposit(1_000_000)
        made.lift_limits()
        made.assert_fit()
        yield made
