"""A Redis, a paper exchange and an executor for all tests that leave them as they were."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from paper_exchange.testing import PaperExchange

from ..conftest import RedisServer
from .harness import World


@pytest.fixture(scope="session")
def paper() -> Iterator[PaperExchange]:
    with PaperExchange(symbols=30, seed=7) as exchange:
        yield exchange


@pytest.fixture(scope="module")
def standing(paper: PaperExchange, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One executor that runs for a whole module."""
    directory = tmp_path_factory.mktemp("standing")
    server = RedisServer(directory, durable=False)
    server.start()
    world = World(server.url, paper, directory)
    try:
        world.be_well()
        world.start()
        yield world
    finally:
        world.close()
        server.kill()


@pytest.fixture
def world(standing: World) -> World:
    """The standing world, put right again; what earlier tests left behind is not seen."""
    standing.be_well()
    standing.forget_results()
    return standing


@pytest.fixture
def empty_world(redis_url: str, paper: PaperExchange, tmp_path: Path) -> Iterator[World]:
    """No executor runs yet; Redis is empty but for what the world needs."""
    world = World(redis_url, paper, tmp_path)
    try:
        world.be_well()
        yield world
    finally:
        world.close()


@pytest.fixture
def durable_world(
    durable_redis: RedisServer, paper: PaperExchange, tmp_path: Path
) -> Iterator[World]:
    """The same with a Redis that a test may kill, every write on disk."""
    world = World(durable_redis.url, paper, tmp_path)
    try:
        world.be_well()
        yield world
    finally:
        world.close()
