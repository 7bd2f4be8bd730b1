"""The watch: denials told once, none missed; layers that are down; an alert path of its own."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from quantum_exit import keys
from quantum_exit.alerts.watch import STATE
from quantum_exit.proofs.observe import SERVICES

from ..conftest import RedisServer
from ..stack import Done, run_module


def run(redis_url: str) -> Done:
    environ = {"PYTHONPATH": ":".join(sys.path), "REDIS_URL": redis_url}
    return run_module("quantum_exit.alerts.watch", [], environ)


def beat(client: redis.Redis, service: str, age_s: float = 0.0, ready: str = "true") -> None:
    fields = {
        "ready": ready,
        "status": "as set",
        "ts_epoch": str(time.time() - age_s),
        "started_epoch": "0",
        "pid": "1",
    }
    client.hset(keys.heartbeat(service), mapping=dict(fields.items()))


def deny(client: redis.Redis, plan_id: str, **fields: str) -> None:
    result = {
        "plan_id": plan_id,
        "symbol": "BTCUSDT",
        "plan_source": "intent_bridge",
        "decision": "DENIED",
        "error": "NOT_EXIT_OWNER:source=intent_bridge",
        **fields,
    }
    client.xadd(keys.APPLY_RESULT, dict(result.items()))


def alerts(client: redis.Redis, kind: str = "") -> list[dict[str, str]]:
    entries = [fields for _, fields in client.xrange(keys.ALERTS)]
    return [fields for fields in entries if kind in ("", fields["alert_type"])]


@pytest.fixture
def bus(redis_client: redis.Redis) -> redis.Redis:
    """A well host: four services beating, a policy that holds."""
    for service in SERVICES:
        beat(redis_client, service)
    policy = {
        "universe_symbols": '["BTCUSDT"]',
        "leverage_by_symbol": '{"BTCUSDT": 5}',
        "valid_until_epoch": str(time.time() + 3600),
    }
    redis_client.hset(keys.POLICY_CURRENT, mapping=dict(policy.items()))
    return redis_client


def test_a_well_host_raises_nothing(redis_url: str, bus: redis.Redis) -> None:
    deny(bus, "fine", error="", decision="EXECUTED")
    done = run(redis_url)
    assert done.code == 0, done
    assert alerts(bus) == []
    assert time.time() - float(bus.hget(STATE, "ts_epoch") or 0) < 10


def test_denials_are_told_once_with_their_sources(redis_url: str, bus: redis.Redis) -> None:
    deny(bus, "one")
    deny(bus, "two", error="SOURCE_UNVERIFIED:source=exitbrain_v3_5", plan_source="exitbrain_v3_5")
    deny(bus, "three", decision="BLOCKED")
    run(redis_url)
    run(redis_url)
    [alert] = alerts(bus)
    assert (alert["alert_type"], alert["deny_count"]) == ("EXIT_OWNER_VIOLATION", "3")
    details = json.loads(alert["details"])
    assert details["sources"] == {"intent_bridge": 2, "exitbrain_v3_5": 1}
    assert details["layers"] == {"layer_1": 1, "layer_2": 2}
    assert [sample["plan_id"] for sample in details["samples"]] == ["one", "two", "three"]


def test_what_comes_later_is_told_by_the_next_look(redis_url: str, bus: redis.Redis) -> None:
    run(redis_url)
    for number in range(2500):  # more than a page
        deny(bus, f"plan-{number}")
    run(redis_url)
    [alert] = alerts(bus)
    assert alert["deny_count"] == "2500"
    assert alert["window"].endswith(" s")


def test_an_alert_told_twice_is_one_whose_id_nobody_could_guess(
    redis_url: str, bus: redis.Redis
) -> None:
    """Who sent another alert under it before would be taken for the watch, and the watch's own
    for a second one."""
    deny(bus, "one")
    run(redis_url)
    remembered = bus.hgetall(STATE)
    deny(bus, "two")
    run(redis_url)
    bus.delete(STATE)  # it died before it had remembered this
    bus.hset(STATE, mapping=remembered)
    run(redis_url)
    first, second, again = [alert["alert_id"] for alert in alerts(bus)]
    assert second == again != first
    bus.delete(keys.ALERTS)
    bus.hset(STATE, mapping={"cursor": remembered["cursor"]})
    run(redis_url)
    assert alerts(bus)[0]["alert_id"] != second, "the same denials, after the same cursor"


def test_a_registered_drill_is_no_violation(redis_url: str, bus: redis.Redis) -> None:
    bus.set(keys.drill("drill-1"), "1", ex=60)
    deny(bus, "drill-1")
    run(redis_url)
    assert alerts(bus) == []
    deny(bus, "drill-2")  # named like one, and not registered
    run(redis_url)
    assert alerts(bus)[0]["deny_count"] == "1"


def test_a_drill_that_asks_for_it_is_alerted_as_one(redis_url: str, bus: redis.Redis) -> None:
    for number in "12":
        bus.set(keys.drill(f"drill-{number}"), "alert", ex=60)
        deny(bus, f"drill-{number}")
    deny(bus, "meant")
    run(redis_url)
    run(redis_url)
    meant, drill = alerts(bus)
    assert (meant["severity"], meant["deny_count"], "drill" in meant) == ("CRITICAL", "1", False)
    assert (drill["alert_type"], drill["severity"]) == ("EXIT_OWNER_VIOLATION", "INFO")
    assert drill["drill"] == "drill-1,drill-2"


@pytest.mark.parametrize("service", SERVICES)
def test_a_layer_that_is_silent_is_told_once_an_hour(
    redis_url: str, bus: redis.Redis, service: str
) -> None:
    beat(bus, service, age_s=60)
    run(redis_url)
    run(redis_url)
    [alert] = alerts(bus, "LAYER_DOWN")
    assert json.loads(alert["details"])["service"] == service
    bus.hset(STATE, f"told:layer:{service}", str(time.time() - 3601))
    run(redis_url)
    assert len(alerts(bus, "LAYER_DOWN")) == 2


def test_a_layer_that_came_back_is_told_anew_when_it_goes_again(
    redis_url: str, bus: redis.Redis
) -> None:
    for ready in ("false", "true", "false"):
        beat(bus, "apply_layer", ready=ready)
        run(redis_url)
    assert len(alerts(bus, "LAYER_DOWN")) == 2


def test_a_layer_that_never_beat_counts_as_down(redis_url: str, bus: redis.Redis) -> None:
    bus.delete(keys.heartbeat("intent_executor"))
    run(redis_url)
    assert len(alerts(bus, "LAYER_DOWN")) == 1


def test_a_stale_policy_is_told(redis_url: str, bus: redis.Redis) -> None:
    bus.hset(keys.POLICY_CURRENT, "valid_until_epoch", str(time.time() - 60))
    run(redis_url)
    [alert] = alerts(bus)
    assert alert["alert_type"] == "POLICY_STALE"


def test_after_a_flush_it_reads_from_the_beginning(redis_url: str, bus: redis.Redis) -> None:
    deny(bus, "before")
    run(redis_url)
    bus.delete(keys.APPLY_RESULT, keys.ALERTS)
    bus.xadd(keys.APPLY_RESULT, {"plan_id": "x", "error": "NOT_EXIT_OWNER:source=a"}, id="1-1")
    run(redis_url)
    assert alerts(bus, "EXIT_OWNER_VIOLATION")[0]["deny_count"] == "1"
    assert "anew" in alerts(bus, "LAYER_DOWN")[0]["details"]


def test_a_stream_that_was_made_anew_and_went_on_is_told(redis_url: str, bus: redis.Redis) -> None:
    for number in range(5):
        deny(bus, f"seen {number}")
    run(redis_url)
    deny(bus, "never seen")
    bus.delete(keys.APPLY_RESULT, keys.ALERTS)
    deny(bus, "after it")  # its id is above the cursor
    run(redis_url)
    assert alerts(bus, "EXIT_OWNER_VIOLATION")[0]["deny_count"] == "1"
    assert "anew" in alerts(bus, "LAYER_DOWN")[0]["details"]
    bus.delete(keys.ALERTS)
    deny(bus, "deleted")
    deny(bus, "last")
    bus.xtrim(keys.APPLY_RESULT, maxlen=1, approximate=False)
    bus.hdel(STATE, "told:results_lost")
    run(redis_url)
    assert "deleted before" in alerts(bus, "LAYER_DOWN")[0]["details"]


def test_a_first_look_at_a_trimmed_stream_misses_nothing(redis_url: str, bus: redis.Redis) -> None:
    deny(bus, "long ago", error="")
    deny(bus, "lately", error="")
    bus.xtrim(keys.APPLY_RESULT, maxlen=1, approximate=False)
    run(redis_url)
    assert alerts(bus) == []


def test_results_deleted_unseen_are_told(redis_url: str, bus: redis.Redis) -> None:
    deny(bus, "seen")
    run(redis_url)
    deny(bus, "never seen")
    deny(bus, "seen too")
    bus.xtrim(keys.APPLY_RESULT, maxlen=1, approximate=False)
    run(redis_url)
    assert "deleted before" in alerts(bus, "LAYER_DOWN")[0]["details"]


def test_an_alert_path_that_fails_fails_the_unit(redis_url: str, bus: redis.Redis) -> None:
    deny(bus, "one")
    bus.set(keys.ALERTS, "not a stream")
    assert run(redis_url).code == 1
    bus.delete(keys.ALERTS)
    run(redis_url)
    assert alerts(bus)[0]["deny_count"] == "1"  # not lost with the first attempt
    assert run("redis://127.0.0.1:1/0").code == 1


def test_a_redis_that_is_just_starting_is_waited_for(durable_redis: RedisServer) -> None:
    durable_redis.kill()
    with ThreadPoolExecutor() as pool:
        looking = pool.submit(run, durable_redis.url)
        time.sleep(1)  # it has met nobody by now; were it slower, it would only be easier
        durable_redis.start()
        assert looking.result().code == 0
