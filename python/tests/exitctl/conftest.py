"""An operator's shell on an otherwise empty host."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from paper_exchange.testing import PaperExchange

from .shell import Operator


@pytest.fixture(scope="session")
def shared_exchange() -> Iterator[PaperExchange]:
    with PaperExchange() as exchange:
        yield exchange


@pytest.fixture
def exchange(shared_exchange: PaperExchange) -> PaperExchange:
    shared_exchange.reset()
    return shared_exchange


@pytest.fixture
def operator(
    redis_url: str, redis_client: redis.Redis, exchange: PaperExchange, tmp_path: Path
) -> Operator:
    """The switch is off in both places and Redis has been up for a while."""
    return Operator(redis_url, redis_client, exchange, tmp_path)
