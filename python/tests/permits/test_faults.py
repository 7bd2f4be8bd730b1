"""P3.3 as a process: killed, without Redis, with a slow exchange."""

from __future__ import annotations

import signal
import time
from typing import Protocol

import pytest
import redis

from paper_exchange.testing import PaperExchange
from quantum_exit import keys
from quantum_exit.permits.store import METRICS

from ..processes import Start
from .harness import (
    SYMBOL,
    ask,
    heartbeat,
    permit,
    plan,
    ready,
    send,
    signed,
    snapshot,
    wait_for,
)


def test_killed_in_the_middle_every_plan_has_its_permit(
    start: Start, redis_client: redis.Redis, exchange: PaperExchange
) -> None:
    exchange.set_position(SYMBOL, "3")
    process = start()
    for n in range(60):
        send(redis_client, signed(plan(f"p-{n}")))
        if n % 20 == 10:
            process.kill()
            process.wait()
            process = start()
    for n in range(60):
        assert permit(redis_client, f"p-{n}")["safe_qty"] == "3"


def test_it_ends_on_request_and_says_what_is_misconfigured(
    start: Start, redis_client: redis.Redis
) -> None:
    process = start()
    wait_for(lambda: ready(redis_client), "ready")
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0
    assert start(BINANCE_API_KEY="").wait(10) == 78
    assert start(USE_BINANCE_TESTNET="false").wait(10) == 78


def test_redis_lost_and_restored(
    start: Start, redis_client: redis.Redis, exchange: PaperExchange
) -> None:
    exchange.set_position(SYMBOL, "3")
    start()
    assert ask(redis_client)["allow"] is True
    redis_client.flushall()
    assert ask(redis_client)["allow"] is True
    wait_for(lambda: ready(redis_client), "ready")
    wait_for(lambda: snapshot(redis_client).get("position_amt") == "3", "a snapshot")


class Killable(Protocol):
    """A Redis that a test may kill."""

    url: str

    def start(self) -> None: ...
    def kill(self) -> None: ...
    def client(self) -> redis.Redis: ...


def test_with_redis_gone_it_waits_and_goes_on(
    start: Start, durable_redis: Killable, exchange: PaperExchange
) -> None:
    exchange.set_position(SYMBOL, "3")
    process = start(REDIS_URL=durable_redis.url)
    assert ask(durable_redis.client())["allow"] is True
    durable_redis.kill()
    durable_redis.start()
    client = durable_redis.client()
    assert ask(client, "p-2")["allow"] is True
    assert process.poll() is None


def test_a_slow_exchange_delays_no_heartbeat(
    start: Start, redis_client: redis.Redis, exchange: PaperExchange
) -> None:
    exchange.set_position(SYMBOL, "3")
    start()
    wait_for(lambda: ready(redis_client), "ready")
    exchange.add_fault(path="/fapi/*", delay_before_ms=2_500)
    sent = time.monotonic()
    assert ask(redis_client)["allow"] is True
    assert time.monotonic() - sent < 8, "within the wait of the executor"
    beat = float(heartbeat(redis_client)["ts_epoch"])
    assert time.time() - beat < 1.0


def pending(client: redis.Redis) -> int:
    (group,) = client.xinfo_groups(keys.APPLY_PLAN)
    return int(group["pending"]) + int(group["lag"] or 0)


@pytest.mark.parametrize(
    "key", [keys.snapshot(SYMBOL), keys.SNAPSHOT_STATE, keys.position_baseline(SYMBOL), METRICS]
)
def test_a_key_of_another_type_in_its_place_stops_no_permit(
    start: Start, redis_client: redis.Redis, exchange: PaperExchange, key: str
) -> None:
    exchange.set_position(SYMBOL, "3")
    redis_client.set(key, "x")
    start()
    assert ask(redis_client)["allow"] is True
    assert snapshot(redis_client)["position_amt"] == "3"
    assert redis_client.hget(keys.SNAPSHOT_STATE, "symbols") == f'["{SYMBOL}"]'
    send(redis_client, plan("p-2", decision="SKIP"))
    wait_for(lambda: not pending(redis_client), "both acknowledged")
