"""The campaigns: short ones always, the long ones with --long (or with QUANTUM_KILLS=n)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..conftest import RedisServer
from .campaign import CROWDED, kill_executors, kill_redis, paper_for_campaigns
from .harness import World

_LONG_KILLS = int(os.environ.get("QUANTUM_KILLS", "1000"))


@pytest.fixture
def battlefield(durable_redis: RedisServer, tmp_path: Path) -> Iterator[World]:
    with paper_for_campaigns() as exchange:
        world = World(durable_redis.url, exchange, tmp_path)
        try:
            world.be_well()
            yield world
        finally:
            world.close()


def test_the_executor_is_killed_again_and_again(battlefield: World) -> None:
    kill_executors(battlefield, 8, seed=1, show=print)


def test_the_executor_is_killed_again_and_again_in_a_crowd(battlefield: World) -> None:
    kill_executors(battlefield, 8, seed=5, show=print, terms=CROWDED)


def test_redis_is_killed_again_and_again(battlefield: World, durable_redis: RedisServer) -> None:
    kill_redis(battlefield, durable_redis, 6, seed=2, show=print)


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
def test_a_thousand_kills_of_the_executor(
    battlefield: World, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        kill_executors(battlefield, _LONG_KILLS, seed=3, show=print)


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
def test_many_kills_of_the_executor_in_a_crowd(
    battlefield: World, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        kill_executors(battlefield, max(1, _LONG_KILLS // 4), seed=6, show=print, terms=CROWDED)


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
def test_many_kills_of_redis(
    battlefield: World, durable_redis: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        kill_redis(battlefield, durable_redis, max(1, _LONG_KILLS // 4), seed=4, show=print)


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
def test_many_kills_of_redis_in_a_crowd(
    battlefield: World, durable_redis: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    kills = max(1, _LONG_KILLS // 8)
    with capsys.disabled():
        kill_redis(battlefield, durable_redis, kills, seed=7, show=print, terms=CROWDED)
