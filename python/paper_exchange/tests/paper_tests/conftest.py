"""One exchange process for all tests, reset before each; and where the recorded data lies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from paper_exchange.testing import PaperExchange

REPOSITORY = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="session")
def running_exchange() -> Iterator[PaperExchange]:
    with PaperExchange() as exchange:
        yield exchange


@pytest.fixture
def exchange(running_exchange: PaperExchange) -> PaperExchange:
    running_exchange.reset()
    return running_exchange


@pytest.fixture(scope="session")
def data_dir() -> Path:
    path = Path(os.environ.get("QUANTUM_DATA", REPOSITORY.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no recorded data at {path} (set QUANTUM_DATA)")
    return path
