"""The Apply Layer as a process, through a real Redis."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from typing import Any, Protocol

import pytest
import redis

from quantum_exit import keys
from quantum_exit.apply.service import METRICS
from quantum_exit.signing import INTENT_FIELDS, Signer, generate_seed

from ..conftest import wait_for
from ..processes import Start, processes_of

OWNER = "exitbrain_v3_5"
SIGNER = Signer(generate_seed())


@pytest.fixture
def start(redis_url: str) -> Iterator[Start]:
    environ = {"REDIS_URL": redis_url, "QUANTUM_PUBLIC_KEY_EXITBRAIN_V3_5": SIGNER.public_hex}
    with processes_of("quantum_exit.apply", environ) as run:
        yield run


def intent(signer: Signer | None = SIGNER, **changes: str) -> dict[str, str]:
    fields = {
        "intent_id": "i-1",
        "symbol": "BTCUSDT",
        "action": "FULL_CLOSE",
        "side": "LONG",
        "quantity": "1",
        "reason": "stop_loss",
        "source": OWNER,
        "ts_epoch": f"{time.time():.6f}",
    } | changes
    return fields | ({"sig": signer.sign(fields, INTENT_FIELDS)} if signer else {})


def send(client: redis.Redis, fields: dict[str, str]) -> None:
    client.xadd(keys.EXIT_INTENT, dict(fields))


def plans(client: redis.Redis) -> list[dict[str, str]]:
    return [fields for _, fields in client.xrange(keys.APPLY_PLAN)]


def all_acknowledged(client: redis.Redis) -> bool:
    groups: Any = client.xinfo_groups(keys.EXIT_INTENT)
    return all(group["pending"] == 0 and group["lag"] == 0 for group in groups) and bool(groups)


def heartbeat(client: redis.Redis) -> dict[str, str]:
    return dict(client.hgetall(keys.heartbeat("apply_layer")))


def test_an_intent_becomes_one_plan_however_often_it_arrives(
    start: Start, redis_client: redis.Redis
) -> None:
    fields = intent()
    for _ in range(3):
        send(redis_client, fields)
    start()
    wait_for(lambda: plans(redis_client), "a plan")
    for _ in range(3):
        send(redis_client, fields)
    wait_for(lambda: all_acknowledged(redis_client), "all acknowledged")
    (plan,) = plans(redis_client)
    assert plan["decision"] == "EXECUTE"
    assert json.loads(plan["intent"]) == fields
    assert redis_client.hget("quantum:apply:metrics", "duplicates") == "5"


def test_what_it_refuses_becomes_a_blocked_plan(start: Start, redis_client: redis.Redis) -> None:
    start()
    send(redis_client, intent(signer=None, source="intent_bridge", intent_id="a"))
    send(redis_client, intent(signer=None, intent_id="b"))
    send(redis_client, intent(ts_epoch="1700000000", intent_id="c"))
    send(redis_client, intent(side="SIDEWAYS", intent_id="d"))
    redis_client.xadd(keys.EXIT_INTENT, {b"\xff\xfe": b"\x00" * 1_000_000})
    wait_for(lambda: len(plans(redis_client)) == 5, "five plans")
    assert [plan["decision"] for plan in plans(redis_client)] == ["BLOCKED"] * 5
    reasons = [plan["reason"].split(":age")[0] for plan in plans(redis_client)]
    assert reasons == [
        "NOT_EXIT_OWNER:source=intent_bridge",
        f"SOURCE_UNVERIFIED:source={OWNER}",
        "intent_expired",
        "invalid_intent:invalid_field:side",
        "invalid_intent:missing_required_fields:intent_id,symbol,action,side,source,ts_epoch",
    ]
    assert all_acknowledged(redis_client)


def test_a_forgery_under_the_same_id_does_not_prevent_the_owners_exit(
    start: Start, redis_client: redis.Redis
) -> None:
    start()
    send(redis_client, intent(signer=None))
    send(redis_client, intent())
    wait_for(lambda: len(plans(redis_client)) == 2, "two plans")
    assert [plan["decision"] for plan in plans(redis_client)] == ["BLOCKED", "EXECUTE"]


def test_a_delegate_exits_while_its_delegation_lasts(
    start: Start, redis_client: redis.Redis
) -> None:
    start()
    redis_client.set(keys.delegation("manual_close"), '{"symbol": "BTCUSDT"}', ex=60)
    send(redis_client, intent(signer=None, source="manual_close", intent_id="a"))
    wait_for(lambda: len(plans(redis_client)) == 1, "a plan")
    redis_client.delete(keys.delegation("manual_close"))
    send(redis_client, intent(signer=None, source="manual_close", intent_id="b"))
    wait_for(lambda: len(plans(redis_client)) == 2, "another plan")
    assert [plan["decision"] for plan in plans(redis_client)] == ["EXECUTE", "BLOCKED"]


def snapshot(client: redis.Redis, amount: str) -> None:
    client.hset(
        keys.snapshot("BTCUSDT"),
        mapping={"position_amt": amount, "ts_epoch": f"{time.time():.6f}"},
    )


def test_a_flat_symbol_is_blocked_when_it_stays_flat(
    start: Start, redis_client: redis.Redis
) -> None:
    snapshot(redis_client, "0")
    start()
    send(redis_client, intent())
    wait_for(lambda: plans(redis_client), "a plan")
    (plan,) = plans(redis_client)
    assert (plan["decision"], plan["reason"]) == ("BLOCKED", "no_position")


def test_a_position_seen_a_moment_late_is_still_protected(
    start: Start, redis_client: redis.Redis
) -> None:
    snapshot(redis_client, "0")
    start()
    wait_for(lambda: heartbeat(redis_client), "a heartbeat")
    send(redis_client, intent())
    snapshot(redis_client, "1")
    wait_for(lambda: plans(redis_client), "a plan")
    (plan,) = plans(redis_client)
    assert plan["decision"] == "EXECUTE"


def test_unreadable_keys_lose_no_exit(start: Start, redis_client: redis.Redis) -> None:
    redis_client.set(keys.snapshot("BTCUSDT"), "x")
    redis_client.set(keys.POLICY_CURRENT, "x")
    redis_client.set(METRICS, "x")
    redis_client.set(keys.heartbeat("apply_layer"), "x")
    start()
    send(redis_client, intent())
    wait_for(lambda: plans(redis_client), "a plan")
    assert plans(redis_client)[0]["decision"] == "EXECUTE"


def test_killed_in_the_middle_nothing_is_lost_or_doubled(
    start: Start, redis_client: redis.Redis
) -> None:
    count = 300
    wanted = {f"exit-i-{n}" for n in range(count)}

    def made() -> list[str]:
        return [plan["plan_id"] for plan in plans(redis_client)]

    process = start()
    for n in range(count):
        fields = intent(intent_id=f"i-{n}")
        send(redis_client, fields)
        send(redis_client, fields)
        if n % 60 == 30:
            process.kill()
            process.wait()
            process = start()
    wait_for(lambda: set(made()) == wanted, "all plans")
    wait_for(lambda: all_acknowledged(redis_client), "all acknowledged")
    assert len(made()) == count


def test_it_ends_on_request_and_says_what_is_misconfigured(
    start: Start, redis_client: redis.Redis
) -> None:
    process = start()
    wait_for(lambda: heartbeat(redis_client).get("ready") == "true", "ready")
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0
    assert start(REDIS_URL="").wait(10) == 78
    assert start(QUANTUM_PUBLIC_KEY_EXITBRAIN_V3_5="zz").wait(10) == 78


def test_without_the_owners_key_it_is_not_ready_and_says_which_variable(
    start: Start, redis_client: redis.Redis
) -> None:
    start(QUANTUM_PUBLIC_KEY_EXITBRAIN_V3_5="")
    wait_for(lambda: heartbeat(redis_client), "a heartbeat")
    assert heartbeat(redis_client)["ready"] == "false"
    assert "QUANTUM_PUBLIC_KEY_EXITBRAIN_V3_5" in heartbeat(redis_client)["status"]


class Killable(Protocol):
    """A Redis that a test may kill."""

    url: str

    def start(self) -> None: ...
    def kill(self) -> None: ...
    def client(self) -> redis.Redis: ...


def test_with_redis_killed_and_restarted_no_intent_is_lost_or_doubled(
    start: Start, durable_redis: Killable
) -> None:
    process = start(REDIS_URL=durable_redis.url)
    client = durable_redis.client()
    wait_for(lambda: heartbeat(client), "a heartbeat")
    sent = set()
    for n in range(40):
        fields = intent(intent_id=f"i-{n}")
        send(client, fields)
        send(client, fields)
        sent.add(f"exit-i-{n}")
        if n % 20 == 10:
            durable_redis.kill()
            durable_redis.start()
            client = durable_redis.client()
    wait_for(lambda: len(plans(client)) >= len(sent), "all plans", timeout_s=20)
    wait_for(lambda: all_acknowledged(client), "all acknowledged")
    assert sorted(plan["plan_id"] for plan in plans(client)) == sorted(sent)
    assert process.poll() is None


def test_a_flushed_redis_is_started_over(start: Start, redis_client: redis.Redis) -> None:
    start()
    wait_for(lambda: heartbeat(redis_client), "a heartbeat")
    redis_client.flushall()
    send(redis_client, intent())
    wait_for(lambda: plans(redis_client), "a plan")
    wait_for(lambda: heartbeat(redis_client).get("ready") == "true", "ready")
