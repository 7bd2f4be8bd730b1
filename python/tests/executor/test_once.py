"""Once, whatever arrives twice; answered, whatever arrives at all."""

from __future__ import annotations

import json
import os
import random
import time

import pytest

from quantum_exit import keys

from .harness import BRIDGE, OWNER, World, wait_for


def test_the_same_plan_again_is_acknowledged_and_counted(world: World) -> None:
    world.hold("BTCUSDT", "1")
    before = world.metric("duplicates")
    plan = world.signed(qty="0.1")
    for _ in range(3):
        world.send(plan)
    world.assert_settled([plan["plan_id"]])
    world.send(plan)
    wait_for(lambda: world.metric("duplicates") == before + 3, "three duplicates")
    world.assert_settled([plan["plan_id"]])
    assert len(world.orders()) == 1


def test_a_hundred_copies_in_one_batch_are_one_order(world: World) -> None:
    world.hold("BTCUSDT", "1")
    plan = world.signed(qty="0.1")
    world.send_together([plan] * 100)
    world.assert_settled([plan["plan_id"]])
    assert len(world.orders()) == 1


def test_a_denied_plan_of_another_takes_no_id_from_the_owner(world: World) -> None:
    world.hold("BTCUSDT", "1")
    plan = world.signed()
    stolen = {"plan_id": plan["plan_id"]}
    assert world.send(world.plan(source=BRIDGE, **stolen), permit=False)
    assert world.send(world.plan(**stolen), permit=False)
    assert world.send(world.plan(source=BRIDGE, decision="SKIP", **stolen), permit=False)
    wait_for(lambda: len(world.results_of(plan["plan_id"])) == 2, "two denials")
    world.send(plan)
    wait_for(lambda: len(world.results_of(plan["plan_id"])) == 3, "the owner's result")
    decisions = {fields["plan_source"]: fields for fields in world.results()}
    assert decisions[BRIDGE]["error"] == f"NOT_EXIT_OWNER:source={BRIDGE}"
    assert world.results()[-1]["decision"] == "EXECUTED"


def test_an_expired_signed_intent_takes_no_id_from_another(world: World) -> None:
    """A captured intent, replayed under the id of the plan that is to come."""
    world.hold("BTCUSDT", "1")
    fresh = world.by_intent(world.intent(quantity="0.5"))
    old = world.intent(ts_epoch=f"{time.time() - 90:.3f}")
    replay = world.by_intent(old, plan_id=fresh["plan_id"], timestamp=f"{time.time():.3f}")
    world.send(replay, permit=False)
    wait_for(lambda: len(world.results()) == 1, "its denial")
    assert world.results()[0]["error"] == f"SOURCE_UNVERIFIED:source={OWNER}"
    world.send(fresh)
    wait_for(lambda: len(world.results()) == 2, "the exit's result")
    assert world.results()[1]["decision"] == "EXECUTED"


def test_orders_of_one_symbol_keep_their_order(world: World) -> None:
    world.exchange.set_latency(20)
    world.hold("BTCUSDT", "1")
    plans = [world.signed(qty=f"0.0{number}") for number in range(1, 7)]
    for plan in plans:
        world.send(plan)
    world.assert_settled([plan["plan_id"] for plan in plans])
    assert [order.params["quantity"] for order in world.orders()] == [p["qty"] for p in plans]


def test_a_plan_that_waits_delays_no_other(world: World) -> None:
    world.hold("BTCUSDT", "1")
    waiting = [world.signed(qty="0.1") for _ in range(50)]
    for plan in waiting:
        world.send(plan, permit=False)
    began = time.monotonic()
    assert world.outcome(world.signed(qty="0.2")) == ("EXECUTED", "")
    assert time.monotonic() - began < 0.4
    assert len(world.results()) == 1
    world.assert_settled([p["plan_id"] for p in waiting] + [world.results()[0]["plan_id"]])


def test_a_slow_symbol_delays_no_other(world: World) -> None:
    world.hold("BTCUSDT", "1")
    world.hold("ETHUSDT", "1")
    world.exchange.add_fault(
        method="POST", path="/fapi/v1/order", symbol="BTCUSDT", delay_before_ms=900
    )
    slow = [world.signed(qty="0.1") for _ in range(3)]
    for plan in slow:
        world.send(plan)
    began = time.monotonic()
    assert world.outcome(world.signed(symbol="ETHUSDT")) == ("EXECUTED", "")
    assert time.monotonic() - began < 0.5
    world.exchange.clear_faults()
    wait_for(lambda: len(world.results()) == 4, "the slow ones too")


def test_the_ledger_goes_on_from_what_it_holds_when_the_fill_is_written(world: World) -> None:
    world.exchange.set_latency(300)
    world.hold("BTCUSDT", "1")
    plan = world.signed(qty="0.4")
    world.send(plan)
    wait_for(lambda: world.redis.hlen(keys.EXECUTOR_OPEN), "an order on its way")
    world.redis.hset(keys.ledger("BTCUSDT"), "position_amt", "5")
    world.assert_settled([plan["plan_id"]])
    assert world.ledger("BTCUSDT")["position_amt"] == "4.6"


def test_an_order_that_was_sent_has_its_end_written_whatever_lies_in_the_ledgers_place(
    empty_world: World,
) -> None:
    world = empty_world
    world.exchange.set_latency(300)
    world.hold("BTCUSDT", "1")
    world.start()
    plan = world.signed(qty="0.4")
    world.send(plan)
    wait_for(lambda: world.redis.hlen(keys.EXECUTOR_OPEN), "an order on its way")
    world.redis.set(keys.ledger("BTCUSDT"), "0")
    world.assert_settled([plan["plan_id"]])
    assert world.ledger("BTCUSDT")["position_amt"] == "-0.4"


def test_a_plan_is_judged_by_the_world_behind_the_one_before_it(empty_world: World) -> None:
    """It was let in when nothing had been sent yet, and waited for its symbol."""
    world = empty_world
    world.start(INTENT_EXECUTOR_MAX_REPEATS="2")
    world.exchange.set_latency(100)
    plan_ids = world.send_together([world.opening() for _ in range(3)])
    world.assert_settled(plan_ids)
    ended = [world.result(plan_id)["error"] for plan_id in plan_ids]
    assert ended == ["", "", "limit_exceeded:max_repeats"]


def test_with_the_older_protocol_of_redis(empty_world: World) -> None:
    """Where Redis answers lists for maps."""
    world = empty_world
    world.start(REDIS_URL=f"{world.redis_url}?protocol=2")
    plans = [world.opening(), world.plan(source=BRIDGE)]
    assert world.outcome(plans[0]) == ("EXECUTED", "")
    assert world.outcome(plans[1]) == ("DENIED", f"NOT_EXIT_OWNER:source={BRIDGE}")
    world.assert_settled([plan["plan_id"] for plan in plans])


NOISE = {
    "nothing listed": {b"hello": b"world"},
    "not utf-8": {b"plan_id": b"\xff\xfe", b"qty": b"\xff"},
    "a megabyte": {b"plan_id": b"x", b"reason": b"A" * 1_000_000},
    "a megabyte of names": {b"N" * 1_000_000: b""},
    "binary": {os.urandom(40): os.urandom(200)},
    "wrong types": {b"plan_id": b"[1]", b"qty": b"{}", b"side": b"true", b"decision": b"null"},
    "control characters": {b"plan_id": b"a\nb\x00", b"symbol": b"\r", b"source": b"\x1b[2J"},
}


@pytest.mark.parametrize("kind", NOISE)
def test_a_poison_entry_is_answered_like_any_other(world: World, kind: str) -> None:
    world.redis.xadd(keys.APPLY_PLAN, NOISE[kind])  # type: ignore[arg-type]
    wait_for(lambda: world.results(), "its result")
    (result,) = world.results()
    assert (result["decision"], result["executed"]) == ("ERROR", "false")
    assert result["error"].startswith(("missing_required_fields:", "invalid_field:"))
    assert len(json.dumps(result)) < 3_000
    assert all(text.isprintable() for text in result.values())
    wait_for(lambda: world.pending() == 0, "acknowledged")
    world.hold("BTCUSDT", "1")
    assert world.outcome(world.signed()) == ("EXECUTED", "")


def test_noise_beside_plans(world: World) -> None:
    """Each of many broken entries is answered, and what is whole between them executes."""
    world.hold("BTCUSDT", "1")
    dice = random.Random(5)
    good = [world.signed(qty="0.01") for _ in range(20)]
    entries: list[dict[bytes, bytes]] = []
    for plan in good:
        world.allow(plan)
        entries.append({k.encode(): v.encode() for k, v in plan.items()})
    for _ in range(200):
        broken = dict(dice.choice(entries[:20]))
        broken[b"plan_id"] = b"broken " + dice.randbytes(8)
        broken[dice.choice(sorted(broken))] = dice.randbytes(dice.randrange(50))
        entries.append(broken)
    dice.shuffle(entries)
    pipe = world.redis.pipeline()
    for entry in entries:
        pipe.xadd(keys.APPLY_PLAN, entry)  # type: ignore[arg-type]
    pipe.execute()
    wait_for(lambda: len(world.results()) == len(entries), "a result each")
    wait_for(lambda: world.pending() == 0, "all acknowledged")
    executed = [f["plan_id"] for f in world.results() if f["executed"] == "true"]
    assert sorted(executed) == sorted(plan["plan_id"] for plan in good)
    world.assert_fills_explain(world.results())


def test_a_permit_of_another_life_does_no_harm(world: World) -> None:
    """Permits that are no permits are none; the executor goes on."""
    world.hold("BTCUSDT", "1")
    for value in (b"\xff", b"[]", b'{"allow":true,"safe_qty":1e999999999999999999999}'):
        plan = world.signed()
        world.redis.set(keys.permit(plan["plan_id"]), value)
        assert world.outcome(plan, permit=False) == ("DENIED", "p33_permit_missing_or_denied")
    plan = world.signed()
    world.redis.lpush(keys.permit(plan["plan_id"]), "x")
    assert world.outcome(plan, permit=False) == ("DENIED", "p33_permit_missing_or_denied")
    assert world.outcome(world.signed()) == ("EXECUTED", "")


def test_counts(world: World) -> None:
    world.hold("BTCUSDT", "1")
    names = ("processed", "executed_true", "executed_false", "exit_owner_denied", "blocked_source")
    before = {name: world.metric(name) for name in names}
    world.outcome(world.signed())
    world.outcome(world.plan(source=BRIDGE))
    world.outcome(world.plan(source="stranger"))
    counted = {name: world.metric(name) - before[name] for name in names}
    assert counted == {
        "processed": 3,
        "executed_true": 1,
        "executed_false": 2,
        "exit_owner_denied": 1,
        "blocked_source": 1,
    }
