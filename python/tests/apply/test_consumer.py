"""A group reader loses nothing: not what came before it, not what a predecessor held."""

from __future__ import annotations

import threading

import pytest
import redis

from quantum_exit.bus.connection import RedisClient, connect
from quantum_exit.bus.consumer import Entry, GroupReader


@pytest.fixture
def raw(redis_url: str) -> RedisClient:
    return connect(redis_url, block_s=1)


def reader(raw: RedisClient, consumer: str = "c", *streams: str) -> GroupReader:
    return GroupReader(raw, streams=streams or ("s",), group="g", consumer=consumer)


def ids(entries: list[Entry]) -> list[str]:
    return [entry.entry_id for entry in entries]


def test_reads_what_arrived_before_the_group_existed(
    raw: RedisClient, redis_client: redis.Redis
) -> None:
    first = redis_client.xadd("s", {"a": "1"})
    entries = reader(raw).read(count=10, block_ms=10)
    assert ids(entries) == [first]
    assert entries[0].stream == "s"
    assert entries[0].fields == {b"a": b"1"}


def test_pending_entries_of_any_predecessor_come_first(
    raw: RedisClient, redis_client: redis.Redis
) -> None:
    sent = [redis_client.xadd("s", {"n": str(n)}) for n in range(5)]
    assert ids(reader(raw, "old").read(count=3, block_ms=10)) == sent[:3]
    successor = reader(raw, "new")
    assert ids(successor.read(count=2, block_ms=10)) == sent[:2]
    assert ids(successor.read(count=2, block_ms=10)) == sent[2:3]
    assert ids(successor.read(count=9, block_ms=10)) == sent[3:]
    assert successor.read(count=9, block_ms=10) == []
    successor.reset()
    assert ids(successor.read(count=9, block_ms=10)) == sent


def test_acknowledged_entries_do_not_come_again(
    raw: RedisClient, redis_client: redis.Redis
) -> None:
    sent = redis_client.xadd("s", {"n": "1"})
    one = reader(raw)
    one.read(count=9, block_ms=10)
    redis_client.xack("s", "g", sent)
    one.reset()
    assert one.read(count=9, block_ms=10) == []


def test_a_lost_redis_is_started_over(raw: RedisClient, redis_client: redis.Redis) -> None:
    one = reader(raw)
    assert one.read(count=9, block_ms=10) == []
    redis_client.flushall()
    assert one.read(count=9, block_ms=10) == []
    sent = redis_client.xadd("s", {"n": "1"})
    assert ids(one.read(count=9, block_ms=10)) == [sent]
    assert one.groups_created == 2


def test_losing_the_stream_while_waiting_for_it(
    raw: RedisClient, redis_client: redis.Redis
) -> None:
    one = reader(raw)
    one.read(count=1, block_ms=1)
    timer = threading.Timer(0.1, redis_client.flushall)
    timer.start()
    assert one.read(count=1, block_ms=900) == []
    timer.join()
    sent = redis_client.xadd("s", {"n": "1"})
    assert ids(one.read(count=9, block_ms=10)) == [sent]


def test_two_streams_are_read_together(raw: RedisClient, redis_client: redis.Redis) -> None:
    one = reader(raw, "c", "s", "t")
    redis_client.xadd("s", {"n": "1"})
    redis_client.xadd("t", {"n": "2"})
    assert {entry.stream for entry in one.read(count=9, block_ms=10)} == {"s", "t"}
    one.reset()
    again = one.read(count=9, block_ms=10) + one.read(count=9, block_ms=10)
    assert {entry.stream for entry in again} == {"s", "t"}


def test_entries_trimmed_while_pending_are_counted(
    raw: RedisClient, redis_client: redis.Redis
) -> None:
    one = reader(raw)
    redis_client.xadd("s", {"n": "1"})
    kept = redis_client.xadd("s", {"n": "2"})
    one.read(count=9, block_ms=10)
    redis_client.xtrim("s", maxlen=1, approximate=False)
    one.reset()
    assert ids(one.read(count=9, block_ms=10)) == [kept]
    assert one.deleted_unread == 1
