"""Whether alerts have a way out: a courier that runs, somebody it goes to, and a canary there."""

from __future__ import annotations

import time
from typing import Any

import pytest
import redis

from quantum_exit import keys
from quantum_exit.proofs.model import Outcome
from quantum_exit.proofs.way import way_check

DAY_S = 86_400.0


def courier(
    client: redis.Redis,
    *,
    ready: bool = True,
    age_s: float = 0.0,
    up_s: float = 60.0,
    destinations: str = "webhook",
    canary_ago_s: float | None = 3600.0,
) -> None:
    now = time.time()
    beat = {
        "ready": str(ready).lower(),
        "status": "as set",
        "pid": "1",
        "ts_epoch": str(now - age_s),
        "started_epoch": str(now - up_s),
    }
    client.hset(keys.heartbeat("alerts"), mapping=dict(beat.items()))
    canary = "0" if canary_ago_s is None else str(now - canary_ago_s)
    record = {"destinations": destinations, "waiting": "0", "canary_epoch": canary}
    client.hset(keys.ALERTS_DELIVERED, mapping=dict(record.items()))


@pytest.mark.parametrize(
    ("seen", "outcome"),
    [
        ({}, Outcome.PASS),
        ({"canary_ago_s": None}, Outcome.PASS),
        ({"canary_ago_s": None, "up_s": 2 * DAY_S}, Outcome.FAIL),
        ({"canary_ago_s": 2 * DAY_S}, Outcome.FAIL),
        ({"ready": False}, Outcome.FAIL),
        ({"age_s": 60.0}, Outcome.FAIL),
        ({"destinations": ""}, Outcome.INFO),
        ({"destinations": "", "ready": False}, Outcome.FAIL),
    ],
)
def test_the_way_of_alerts(
    redis_client: redis.Redis, seen: dict[str, Any], outcome: Outcome
) -> None:
    courier(redis_client, **seen)
    assert way_check(redis_client, time.time()).outcome is outcome


def test_a_stream_of_another_type_is_no_way(redis_client: redis.Redis) -> None:
    courier(redis_client)
    redis_client.set(keys.ALERTS, "x")
    assert way_check(redis_client, time.time()).outcome is Outcome.FAIL
