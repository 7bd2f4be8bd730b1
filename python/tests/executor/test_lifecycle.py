"""Redis lost and restored, groups and streams gone, two executors, hedge mode, stop and start."""

from __future__ import annotations

import json
import signal
import time
from decimal import Decimal

import pytest
import redis

from quantum_exit import keys

from ..conftest import RedisServer
from .harness import BRIDGE, Fields, World, wait_for


def test_redis_killed_and_restarted(durable_world: World, durable_redis: RedisServer) -> None:
    world = durable_world
    world.hold("BTCUSDT", "1")
    executor = world.start()
    assert world.outcome(world.signed(qty="0.1")) == ("EXECUTED", "")
    durable_redis.kill()
    time.sleep(0.6)
    assert executor.process.poll() is None
    durable_redis.start()
    world.observe()
    executor.wait_ready()
    assert world.outcome(world.signed(qty="0.1")) == ("EXECUTED", "")
    assert len(world.our_fills()) == 2
    assert executor.stop() == 0


def test_redis_killed_while_an_order_is_on_its_way(
    durable_world: World, durable_redis: RedisServer
) -> None:
    world = durable_world
    world.hold("BTCUSDT", "1")
    executor = world.start()
    world.exchange.add_fault(method="POST", path="/fapi/v1/order", delay_after_ms=300)
    plan_id = world.send(world.signed(qty="0.1"))
    wait_for(lambda: world.our_fills(), "executed, the answer still coming")
    durable_redis.kill()
    time.sleep(0.6)
    durable_redis.start()
    executor.wait_ready()
    assert world.result(plan_id)["decision"] == "EXECUTED"
    assert len(world.our_fills()) == 1
    world.assert_settled([plan_id])


def test_redis_out_of_memory(empty_world: World) -> None:
    """Nothing is sent, and what a plan lives on is still there when memory is."""
    world = empty_world
    world.hold("BTCUSDT", "1")
    executor = world.start()
    executor.signal(signal.SIGSTOP)
    plan_ids = [world.send(world.signed(qty="0.1")), world.send(world.by_intent(qty="0.1"))]
    world.redis.config_set("maxmemory", "1")
    try:
        executor.signal(signal.SIGCONT)
        wait_for(lambda: "OutOfMemory" in executor.log(), "it has met the limit")
        assert world.orders() == []
    finally:
        world.redis.config_set("maxmemory", "0")
    world.observe()
    world.assert_settled(plan_ids)
    assert [result["decision"] for result in world.results()] == ["EXECUTED"] * 2
    assert len(world.our_fills()) == 2


def test_started_before_redis(durable_world: World, durable_redis: RedisServer) -> None:
    durable_redis.kill()
    executor = durable_world.start(wait=False)
    time.sleep(1.0)
    assert executor.process.poll() is None
    durable_redis.start()
    durable_world.be_well()
    executor.wait_ready()


def test_everything_flushed(empty_world: World) -> None:
    """What was forgotten is not guessed: no switch, no order."""
    world = empty_world
    world.hold("BTCUSDT", "1")
    executor = world.start()
    assert world.outcome(world.signed(qty="0.1")) == ("EXECUTED", "")
    world.redis.flushall()
    executor.wait_ready()
    world.observe()
    plan = world.signed(qty="0.1")
    assert world.outcome(plan) == ("SHADOW", "kill_switch_active")
    assert len(world.our_fills()) == 1


@pytest.mark.parametrize("ahead_s", [0, 4.5])
def test_a_plan_replayed_into_a_redis_that_forgot_it(empty_world: World, ahead_s: float) -> None:
    """Restored from a backup: the exchange's own books say that it was executed. Also of a
    producer whose clock is ahead: its plan looks younger than what was forgotten."""
    world = empty_world
    world.hold("BTCUSDT", "1")
    executor = world.start()
    plan = world.signed(qty="0.1", timestamp=f"{time.time() + ahead_s:.6f}")
    first = world.result(world.send(plan))
    world.redis.flushall()
    executor.wait_ready()
    world.switch(active=False)
    world.observe()
    second = world.result(world.send(plan))
    assert second["decision"] == "EXECUTED"
    assert second["order_id"] == first["order_id"]
    assert len(world.orders()) == 1
    assert world.exchange.position("BTCUSDT") == Decimal("0.9")


def test_a_second_attempt_replayed_into_a_redis_that_forgot_it(empty_world: World) -> None:
    world = empty_world
    world.hold("BTCUSDT", "1")
    executor = world.start()
    world.exchange.add_fault(method="POST", path="/fapi/v1/order", times=1, answer="503_throttled")
    plan = world.signed(qty="0.1")
    first = world.result(world.send(plan))
    world.redis.flushall()
    executor.wait_ready()
    world.switch(active=False)
    world.observe()
    second = world.result(world.send(plan))
    assert second["order_id"] == first["order_id"]
    assert len(world.our_fills()) == 1


def test_a_grant_of_a_later_release_is_ended_by_the_one_before(empty_world: World) -> None:
    """Rolled back while an order was granted and not sent: the field that it does not know
    stands in the way neither of reading the grant nor of the attempt that replaces it."""
    world = empty_world
    world.hold("BTCUSDT", "1")
    executor = world.start(QUANTUM_FAILPOINT="after_grant")
    plan = world.signed(qty="0.1")
    world.send(plan)
    executor.wait_dead()
    [(identity, text)] = world.redis.hgetall(keys.EXECUTOR_OPEN).items()
    later = json.dumps({**json.loads(text), "of_a_later_release": 1})
    world.redis.hset(keys.EXECUTOR_OPEN, identity, later)
    world.start()
    world.assert_settled([plan["plan_id"]])
    assert world.result(plan["plan_id"])["decision"] == "EXECUTED"
    assert world.exchange.position("BTCUSDT") == Decimal("0.9")


def test_an_opening_granted_by_the_dead_is_sent_by_the_successor(empty_world: World) -> None:
    """The permit went with the grant; what it allowed is what the grant still says."""
    world = empty_world
    executor = world.start(QUANTUM_FAILPOINT="after_grant")
    plan = world.opening(qty="0.02")
    world.allow(plan, safe_qty="0.01")
    world.send(plan, permit=False)
    executor.wait_dead()
    assert not world.redis.exists(keys.permit(plan["plan_id"]))
    world.start()
    result = world.result(plan["plan_id"])
    assert (result["decision"], result["error"]) == ("EXECUTED", "")
    assert result["filled_qty"] == "0.01"
    (order,) = world.orders()
    assert order.client_order_id.endswith("-2")
    world.assert_settled([plan["plan_id"]])


def test_what_somebody_else_read_and_dropped_is_answered(empty_world: World) -> None:
    world = empty_world
    executor = world.start(INTENT_EXECUTOR_RECLAIM_S="1")
    executor.signal(signal.SIGSTOP)
    wait_for(executor.is_frozen, "frozen")
    plans = [world.plan(source=BRIDGE) for _ in range(20)]
    for plan in plans:
        world.send(plan, permit=False)
    group, streams = keys.GROUP_EXECUTOR, {keys.APPLY_PLAN: ">"}
    assert world.redis.xreadgroup(group, "stranger", streams)
    executor.signal(signal.SIGCONT)
    world.assert_settled([plan["plan_id"] for plan in plans])


def test_a_lost_group_is_made_anew(empty_world: World) -> None:
    world = empty_world
    world.hold("BTCUSDT", "1")
    world.start()
    plan = world.signed(qty="0.1")
    assert world.outcome(plan) == ("EXECUTED", "")
    world.redis.xgroup_destroy(keys.APPLY_PLAN, keys.GROUP_EXECUTOR)
    later = world.signed(qty="0.1")
    assert world.outcome(later) == ("EXECUTED", "")
    world.assert_settled([plan["plan_id"], later["plan_id"]])
    assert len(world.our_fills()) == 2


def test_what_came_before_the_first_start_counts(empty_world: World) -> None:
    world = empty_world
    world.hold("BTCUSDT", "1")
    plan_id = world.send(world.signed(qty="0.1"))
    world.start()
    assert world.result(plan_id)["decision"] == "EXECUTED"


def test_a_trimmed_stream_is_said_aloud(empty_world: World) -> None:
    """Delivered, not answered, and gone: nobody can know what it was."""
    world = empty_world
    world.hold("BTCUSDT", "1")
    executor = world.start(INTENT_EXECUTOR_PERMIT_WAIT_S="30")
    world.send(world.signed(qty="0.1"), permit=False)
    wait_for(lambda: executor.beat().get("waiting") == "1", "it waits for its permit")
    executor.kill()
    world.redis.xtrim(keys.APPLY_PLAN, maxlen=0, approximate=False)
    world.start()
    assert world.outcome(world.signed(qty="0.1")) == ("EXECUTED", "")
    (alert,) = world.alerts("UNKNOWN_OUTCOME")
    assert json.loads(alert["details"])["count"] == 1
    assert world.pending() == 0


def test_a_trimmed_stream_with_an_order_on_its_way(empty_world: World) -> None:
    """The open grant holds all that is needed to end the plan."""
    world = empty_world
    world.hold("BTCUSDT", "1")
    executor = world.start(wait=True, QUANTUM_FAILPOINT="after_send")
    plan_id = world.send(world.signed(qty="0.1"))
    executor.wait_dead()
    world.redis.xtrim(keys.APPLY_PLAN, maxlen=0, approximate=False)
    world.start()
    result = world.result(plan_id)
    assert (result["decision"], result["filled_qty"]) == ("EXECUTED", "0.1")
    world.assert_settled([plan_id])


def test_two_executors(empty_world: World) -> None:
    world = empty_world
    world.hold("BTCUSDT", "1")
    first = world.start()
    second = world.start(wait=False)
    assert world.outcome(world.signed(qty="0.1")) == ("EXECUTED", "")
    time.sleep(0.5)
    assert second.process.poll() is None
    assert second.beat() == {}
    plans = [world.signed(qty="0.01") for _ in range(5)]
    for plan in plans:
        world.send(plan)
    first.kill()
    began = time.monotonic()
    last = world.send(world.signed(qty="0.02"))
    assert world.result(last)["decision"] == "EXECUTED"
    assert time.monotonic() - began < 3.0  # under one second where nothing is on its way
    results = {fields["plan_id"] for fields in world.results()}
    assert {plan["plan_id"] for plan in plans} <= results
    world.assert_fills_explain(world.results())


def test_the_second_takes_over_within_a_second(empty_world: World) -> None:
    world = empty_world
    world.hold("BTCUSDT", "1")
    first = world.start()
    second = world.start(wait=False)
    wait_for(lambda: "standing by" in second.log(), "the second stands by")
    first.kill()
    began = time.monotonic()
    assert world.outcome(world.signed(qty="0.1")) == ("EXECUTED", "")
    assert time.monotonic() - began < 1.0


def test_a_frozen_leader_keeps_the_lead(empty_world: World) -> None:
    """Frozen is not dead: the lock is its own, and the other does not trade beside it."""
    world = empty_world
    world.hold("BTCUSDT", "1")
    first = world.start()
    second = world.start(wait=False)
    first.signal(signal.SIGSTOP)
    plan_id = world.send(world.signed(qty="0.1"))
    time.sleep(1.2)
    assert not world.results_of(plan_id)
    assert second.beat() == {}
    first.signal(signal.SIGCONT)
    assert world.result(plan_id)["decision"] == "EXECUTED"
    assert len(world.our_fills()) == 1


def test_hedge_mode(empty_world: World) -> None:
    world = empty_world
    world.hold("BTCUSDT", "1")
    world.exchange.set_hedge_mode(True)
    executor = world.start(wait=False, INTENT_EXECUTOR_PLAN_LIFETIME_S="2")
    wait_for(lambda: "hedge mode" in executor.beat().get("status", ""), "it says so", 15)
    assert executor.beat()["ready"] == "false"
    decision, error = world.outcome(world.signed())
    assert decision == "EXPIRED"
    assert "hedge mode" in error
    assert world.orders() == []


def test_a_stop_in_order_answers_what_is_on_its_way(empty_world: World) -> None:
    world = empty_world
    world.hold("BTCUSDT", "1")
    executor = world.start()
    world.exchange.add_fault(method="POST", path="/fapi/v1/order", delay_after_ms=400)
    plan_id = world.send(world.signed(qty="0.1"))
    wait_for(lambda: world.orders(), "the order")
    assert executor.stop() == 0
    assert world.result(plan_id)["decision"] == "EXECUTED"
    world.assert_settled([plan_id])


def test_a_wrong_configuration_ends_with_78(empty_world: World) -> None:
    executor = empty_world.start(wait=False, BINANCE_API_KEY="")
    executor.wait_dead()
    assert executor.process.returncode == 78
    assert "BINANCE_API_KEY" in executor.log()


@pytest.mark.parametrize("key", [keys.EXECUTOR_METRICS, keys.ledger("BTCUSDT")])
def test_a_broken_ledger_or_count_stops_no_exit(empty_world: World, key: str) -> None:
    world = empty_world
    world.hold("BTCUSDT", "1")
    world.start()
    world.redis.hset(key, mapping={"position_amt": "lots", "processed": "many"})
    plans = [world.signed(qty="0.1"), world.plan(source=BRIDGE)]
    assert world.outcome(plans[0]) == ("EXECUTED", "")
    assert world.outcome(plans[1]) == ("DENIED", f"NOT_EXIT_OWNER:source={BRIDGE}")
    world.assert_settled([plan["plan_id"] for plan in plans])
    assert world.ledger("BTCUSDT")["position_amt"] == "-0.1"
    assert not world.metric("duplicates")


LAST = f"{2**64 - 1}-{2**64 - 1}"


def accepted(world: World, plan: Fields) -> bool:
    try:
        world.send(plan)
    except redis.ResponseError:
        return False
    return True


def test_the_last_id_of_all_stops_no_exit(empty_world: World) -> None:
    """Who may write plans may name their ids, and after the last one Redis takes no other."""
    world = empty_world
    world.hold("BTCUSDT", "1")
    world.redis.xgroup_create(keys.APPLY_PLAN, keys.GROUP_PERMITS, "0", mkstream=True)
    world.start()
    before = world.signed(qty="0.1")
    assert world.outcome(before) == ("EXECUTED", "")
    last = world.opening(qty="0.01")
    world.allow(last)
    world.redis.xadd(keys.APPLY_PLAN, last, id=LAST)
    exit_ = world.signed(qty="0.1")
    wait_for(lambda: accepted(world, exit_), "plans are taken again")
    assert world.result(exit_["plan_id"])["decision"] == "EXECUTED"
    world.assert_settled([plan["plan_id"] for plan in (before, last, exit_)])
    groups = {group["name"] for group in world.redis.xinfo_groups(keys.APPLY_PLAN)}
    assert groups == {keys.GROUP_EXECUTOR, keys.GROUP_PERMITS}
    assert len(world.alerts("LAYER_DOWN")) == 1


def test_what_waits_in_such_a_stream_is_answered_by_a_start(empty_world: World) -> None:
    world = empty_world
    world.hold("BTCUSDT", "1")
    executor = world.start()
    executor.stop()
    plans = [world.signed(qty="0.1"), world.signed(qty="0.2")]
    for plan in plans:
        world.send(plan)
    world.redis.xadd(keys.APPLY_PLAN, {"no": "plan"}, id=LAST)
    world.start()
    world.assert_settled(["", *(plan["plan_id"] for plan in plans)])
    assert world.exchange.position("BTCUSDT") == Decimal("0.7")
    wait_for(lambda: accepted(world, world.signed(qty="0.1")), "plans are taken again")
