"""Which stops of ours rest on the exchange, as the results tell, through restarts."""

from __future__ import annotations

import pytest
import redis

from quantum_exit import keys
from quantum_exit.bus.connection import connect
from quantum_exit.permits.stops import BATCH, STOPS_KEY, PlacedStops


@pytest.fixture
def stops(redis_url: str) -> PlacedStops:
    return PlacedStops(connect(redis_url))


def result(client: redis.Redis, client_id: str, **changes: str) -> None:
    fields = {
        "symbol": "BTCUSDT",
        "executed": "true",
        "client_order_id": client_id,
        "order_status": "NEW",
        "filled_qty": "0",
    } | changes
    client.xadd(keys.APPLY_RESULT, dict(fields))


def test_placed_ones_are_known_and_cancelled_ones_are_not(
    stops: PlacedStops, redis_client: redis.Redis
) -> None:
    result(redis_client, "qs-1")
    result(redis_client, "qs-2")
    result(redis_client, "qs-3", symbol="ETHUSDT")
    result(redis_client, "qs-4", executed="false")
    result(redis_client, "qx-5")
    stops.follow()
    assert stops.of("BTCUSDT") == ("qs-1", "qs-2")
    result(redis_client, "qs-1", order_status="CANCELED")
    stops.follow()
    assert stops.of("BTCUSDT") == ("qs-2",)
    assert stops.of("ETHUSDT") == ("qs-3",)


def test_what_it_knew_survives_it_and_nothing_is_read_twice(
    stops: PlacedStops, redis_client: redis.Redis, redis_url: str
) -> None:
    result(redis_client, "qs-1")
    stops.follow()
    redis_client.delete(keys.APPLY_RESULT)
    successor = PlacedStops(connect(redis_url))
    successor.follow()
    assert successor.of("BTCUSDT") == ("qs-1",)
    redis_client.hdel(STOPS_KEY, "qs-1")
    successor.forget(["qs-1"])
    successor.reset()
    successor.follow()
    assert successor.of("BTCUSDT") == ()


def test_a_fill_is_noticed(stops: PlacedStops, redis_client: redis.Redis) -> None:
    result(redis_client, "qx-1", executed="false")
    assert stops.follow() is False
    result(redis_client, "qx-2", filled_qty="0.5")
    assert stops.follow() is True
    assert stops.follow() is False


def test_after_a_long_absence_all_of_it_is_read(
    stops: PlacedStops, redis_client: redis.Redis
) -> None:
    pipe = redis_client.pipeline(transaction=False)
    for n in range(2 * BATCH + 1):
        pipe.xadd(keys.APPLY_RESULT, {"executed": "true", "client_order_id": f"qs-{n}"})
    pipe.execute()
    stops.follow()
    assert len(stops.of("")) == 2 * BATCH + 1
