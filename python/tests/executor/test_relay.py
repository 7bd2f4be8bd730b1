"""A symbol's next exit, granted in one write with the end of the order before it."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from quantum_exit import keys
from quantum_exit.bus.connection import RedisClient, connect
from quantum_exit.bus.line import Line
from quantum_exit.executor import approver, endings
from quantum_exit.executor.grant import OpenGrant, client_order_id
from quantum_exit.executor.result import Fill
from quantum_exit.executor.store import Ending, Entry, LedgerAfter, Store
from quantum_exit.gates.chain import judge
from quantum_exit.gates.model import Claim, Outcome
from quantum_exit.messages import OrderType
from quantum_exit.values import OrderSide

from .harness import BRIDGE, Executor, World, wait_for
from .in_process import Inside

QTY = "0.01"
EXECUTED = ("EXECUTED", "")


def queue_of_exits(world: World, count: int) -> list[str]:
    return world.send_together([world.signed(qty=QTY) for _ in range(count)])


def stopped_with_the_next_one_granted(world: World, how: str) -> tuple[Executor, list[str]]:
    """At the moment in which one's end and the next one's grant are written: of the first two,
    or on a busy machine of later ones."""
    world.exchange.set_latency(10)
    world.hold("BTCUSDT", "1")
    executor = world.start(QUANTUM_FAILPOINT=f"{how}granted_along")
    return executor, queue_of_exits(world, 30)


def test_killed_with_the_next_one_granted(empty_world: World) -> None:
    world = empty_world
    executor, plan_ids = stopped_with_the_next_one_granted(world, "")
    executor.wait_dead()
    done = len(world.orders())
    assert [result["plan_id"] for result in world.results()] == plan_ids[:done]
    (grant,) = world.redis.hkeys(keys.EXECUTOR_OPEN)
    assert grant.endswith(plan_ids[done])
    world.start()
    world.assert_settled(plan_ids)
    assert all(result["decision"] == "EXECUTED" for result in world.results())
    assert world.exchange.position("BTCUSDT") == 1 - 30 * Decimal(QTY)
    world.assert_fills_explain(world.results())


def test_frozen_with_the_next_one_granted_and_killed_meanwhile(empty_world: World) -> None:
    world = empty_world
    executor, plan_ids = stopped_with_the_next_one_granted(world, "freeze@")
    wait_for(executor.is_frozen, "the executor frozen")
    world.switch(active=True)
    time.sleep(1.1)  # past its fence
    executor.signal(signal.SIGCONT)
    world.assert_settled(plan_ids)
    done = len(world.our_fills())
    decisions = [result["decision"] for result in world.results()]
    assert decisions == ["EXECUTED"] * done + ["SHADOW"] * (30 - done)
    assert done < 30


def test_nothing_is_signed_after_a_kill_in_the_middle_of_a_queue(world: World) -> None:
    world.exchange.set_latency(20)
    world.hold("BTCUSDT", "1")
    plan_ids = queue_of_exits(world, 30)
    wait_for(lambda: len(world.orders()) >= 3, "a few orders")
    world.switch(active=True)
    killed_ms = world.exchange.now_ms()
    world.assert_settled(plan_ids)
    signed_ms = [order.timestamp_ms for order in world.orders()]
    assert all(at is not None and at <= killed_ms for at in signed_ms)
    decisions = [result["decision"] for result in world.results()]
    assert decisions == sorted(decisions)  # EXECUTED, then SHADOW
    assert decisions[-1] == "SHADOW"


def test_each_counts_against_the_limits_of_the_next(empty_world: World) -> None:
    world = empty_world
    world.start(INTENT_EXECUTOR_MAX_REPEATS="3")
    world.exchange.set_latency(5)
    world.hold("BTCUSDT", "1")
    plan_ids = queue_of_exits(world, 6)
    world.assert_settled(plan_ids)
    ends = [result["error"] for result in world.results()]
    assert ends == [""] * 3 + ["limit_exceeded:max_repeats"] * 3
    assert len(world.orders()) == 3
    assert world.ledger("BTCUSDT")["position_amt"] == "-0.03"


def test_an_entry_behind_an_exit_goes_its_own_way(empty_world: World) -> None:
    world = empty_world
    world.start()
    world.exchange.set_latency(10)
    world.hold("BTCUSDT", "1")
    world.redis.hset(keys.position_baseline("BTCUSDT"), "amount", "1")
    world.publish_policy("BTCUSDT", leverage=9)
    exits = [world.signed(qty=QTY) for _ in range(2)]
    world.assert_settled(world.send_together([exits[0], world.opening(), exits[1]]))
    paths = [order.path for order in world.exchange.orders(everything=True)]
    assert paths == ["/fapi/v1/order", "/fapi/v1/leverage", "/fapi/v1/order", "/fapi/v1/order"]


def test_a_cancellation_behind_an_exit_is_of_a_stop_of_its_symbol(world: World) -> None:
    world.exchange.set_latency(10)
    world.hold("ETHUSDT", "1")
    intent = world.intent(symbol="ETHUSDT", action="PLACE_STOP", trigger_price="1000")
    stop = world.by_intent(intent, type="STOP_MARKET", trigger_price="1000")
    client_id = world.result(world.send(stop))["client_order_id"]
    world.hold("BTCUSDT", "1")
    world.redis.set(keys.delegation(BRIDGE), json.dumps({"symbol": None}), ex=60)
    cancel = world.plan(type="CANCEL", qty="0", plan_id=f"cancel:{client_id}:1", source=BRIDGE)
    world.send_together([*(world.signed(qty=QTY) for _ in range(4)), cancel])
    assert world.result(cancel["plan_id"])["error"] == "invalid_field:symbol"
    (resting,) = world.exchange.state()["open_algos"]
    assert resting["clientAlgoId"] == client_id


# In this process, on a single order thread


@pytest.fixture
def inside(redis_url: str, tmp_path: Path) -> Iterator[Inside]:
    one = Inside(redis_url, tmp_path, INTENT_EXECUTOR_ORDER_THREADS="1")
    yield one
    one.close()  # and no session has failed


def exits(inside: Inside, symbol: str, count: int) -> list[str]:
    return inside.world.send_together(
        [inside.world.signed(symbol=symbol, qty="1") for _ in range(count)]
    )


def test_a_gate_that_fails_on_the_next_one_costs_the_others_nothing(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It passed them all when it was read, and finds another world by now."""
    world = inside.world
    plans = [world.signed(qty="1") for _ in range(3)]

    def judge_or_fail(claim: Claim, *others: Any) -> object:
        if claim.plan.plan_id == plans[1]["plan_id"]:
            raise ArithmeticError
        return judge(claim, *others)

    monkeypatch.setattr(approver, "judge", judge_or_fail)
    world.assert_settled(world.send_together(plans))
    ends = [(result["decision"], result["error"]) for result in world.results()]
    assert ends == [EXECUTED, ("ERROR", "internal_error:ArithmeticError"), EXECUTED]


def test_an_exit_of_another_symbol_waits_for_one_order_alone(inside: Inside) -> None:
    def at_the_third_order() -> None:
        exits(inside, "ETHUSDT", 1)
        wait_for(lambda: not inside.session.context.lanes.may_go_on(), "it waits for the thread")

    inside.exchange.at_order[3] = at_the_third_order
    exits(inside, "BTCUSDT", 9)
    wait_for(lambda: len(inside.world.results()) == 10, "all results")
    assert [symbol for symbol, *_ in inside.exchange.sent].index("ETHUSDT") == 3


def test_a_queue_stops_with_its_session(inside: Inside) -> None:
    inside.exchange.at_order[3] = lambda: inside.session.context.lanes.close()
    plan_ids = exits(inside, "BTCUSDT", 9)
    wait_for(lambda: len(inside.world.results()) == 3, "three results")
    inside.close()
    assert len(inside.exchange.sent) == 3
    assert not inside.world.redis.hlen(keys.EXECUTOR_OPEN)
    inside.tend()
    inside.world.assert_settled(plan_ids)


def test_a_queue_waits_while_no_order_may_be_sent(inside: Inside) -> None:
    def at_the_third_order() -> None:
        inside.market.not_ready = "the exchange is silent"

    inside.exchange.at_order[3] = at_the_third_order
    plan_ids = exits(inside, "BTCUSDT", 9)
    wait_for(lambda: inside.session.context.exits_that_waited, "the fourth waits")
    assert len(inside.exchange.sent) == 3
    assert inside.world.redis.exists(keys.permit(plan_ids[3]))
    inside.market.not_ready = ""
    inside.world.assert_settled(plan_ids)
    assert not inside.session.context.exits_that_waited


def test_a_ledger_that_another_wrote_behind_an_order_without_a_fill(inside: Inside) -> None:
    """That end is written, and what was judged on the other amount is judged anew."""
    redis, ledger = inside.world.redis, keys.ledger("BTCUSDT")
    inside.exchange.fate = lambda: "unfilled"
    inside.exchange.at_order[2] = lambda: redis.hincrby(ledger, "position_amt", 5)
    inside.world.assert_settled(exits(inside, "BTCUSDT", 4))
    assert inside.world.ledger("BTCUSDT") == {"position_amt": "5"}
    assert len(inside.exchange.sent) == 4


def test_a_delegation_that_ended_while_the_exchange_was_silent(inside: Inside) -> None:
    """A right is asked for before each attempt."""
    world, delegation = inside.world, keys.delegation(BRIDGE)
    world.redis.set(delegation, json.dumps({"symbol": None}), ex=60)
    inside.exchange.fate = lambda: "limited"
    inside.exchange.at_order[1] = lambda: world.redis.delete(delegation)
    plan_ids = world.send_together([world.plan(source=BRIDGE, qty="1")])
    assert world.result(plan_ids[0])["error"] == f"NOT_EXIT_OWNER:source={BRIDGE}"
    assert len(inside.exchange.sent) == 1


# The one write, without an executor


@pytest.fixture
def redis(redis_url: str) -> Iterator[RedisClient]:
    client = connect(redis_url)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def store(redis: RedisClient) -> Store:
    store = Store(redis, Line(redis))
    store.load_scripts()
    redis.set(keys.KILL_SWITCH, '{"active":false}')
    redis.xgroup_create(keys.APPLY_PLAN, keys.GROUP_EXECUTOR, id="0", mkstream=True)
    return store


def grant_of(number: int) -> OpenGrant:
    identity = f"v:exitbrain_v3_5:plan-{number}"
    return OpenGrant(
        identity=identity,
        plan_id=f"plan-{number}",
        source="exitbrain_v3_5",
        lane="main",
        stream=keys.APPLY_PLAN,
        group=keys.GROUP_EXECUTOR,
        entry_id=f"{number}-0",
        symbol="BTCUSDT",
        side=OrderSide.SELL,
        type=OrderType.MARKET,
        qty=Decimal(1),
        reduces=True,
        trigger_price=None,
        plan_timestamp=Decimal(1),
        client_order_id=client_order_id(identity, 1),
        attempt=1,
        timestamp_ms=1,
        recv_window_ms=1000,
    )


def end_of(grant: OpenGrant) -> tuple[Ending, LedgerAfter]:
    fill = Fill("7", grant.client_order_id, Decimal(1), "FILLED", Decimal(1))
    result = endings.of_grant(grant, Outcome.EXECUTED, "", fill)
    entry = Entry(grant.stream, grant.group, grant.entry_id)
    after = partial(endings.ledger_after, grant.side, fill, 1.0)
    return Ending(entry, grant.identity, result), after


FIRST, SECOND = grant_of(1), grant_of(2)


def first_granted(redis: RedisClient, store: Store) -> None:
    for grant in (FIRST, SECOND):
        redis.set(keys.permit(grant.plan_id), "{}")
    assert store.grant(FIRST, replaces=None, intent_id="") == ("granted", [])


def go_on(store: Store) -> tuple[str, list[object]]:
    ending, ledger = end_of(FIRST)
    return store.settle_and_grant(ending, ledger, SECOND, intent_id="", then=[("PING",)])


def open_plans(redis: RedisClient) -> set[bytes]:
    return set(redis.hkeys(keys.EXECUTOR_OPEN))


def test_end_and_grant_in_one_write(redis: RedisClient, store: Store) -> None:
    first_granted(redis, store)
    assert go_on(store) == ("granted", [b"PONG"])
    assert open_plans(redis) == {SECOND.identity.encode()}
    assert redis.hget(keys.ledger("BTCUSDT"), "position_amt") == b"-1"
    assert redis.xlen(keys.APPLY_RESULT) == 1
    assert redis.exists(keys.permit("plan-2")) == 0


def test_nothing_is_done_on_another_ledger_than_was_thought(
    redis: RedisClient, store: Store
) -> None:
    """Not even where it holds by chance what it was to hold afterwards."""
    for amount in ("5", "-1"):
        redis.flushdb()
        redis.xgroup_create(keys.APPLY_PLAN, keys.GROUP_EXECUTOR, id="0", mkstream=True)
        redis.set(keys.KILL_SWITCH, '{"active":false}')
        first_granted(redis, store)
        redis.hset(keys.ledger("BTCUSDT"), "position_amt", amount)
        assert go_on(store) == ("unsettled", [])
        assert open_plans(redis) == {FIRST.identity.encode()}
        assert redis.xlen(keys.APPLY_RESULT) == 0
        assert redis.exists(keys.permit("plan-2"))
        ending, ledger = end_of(FIRST)
        store.settle(ending, ledger)
        assert redis.hget(keys.ledger("BTCUSDT"), "position_amt") == str(int(amount) - 1).encode()


def test_a_ledger_that_is_no_text_stops_no_exit(redis: RedisClient, store: Store) -> None:
    redis.hset(keys.ledger("BTCUSDT"), "position_amt", b"\xff")
    first_granted(redis, store)
    assert go_on(store) == ("granted", [b"PONG"])
    assert redis.hget(keys.ledger("BTCUSDT"), "position_amt") == b"-1"


def test_no_grant_behind_an_end_that_was_there_already(redis: RedisClient, store: Store) -> None:
    """Another one wrote it, and what our books hold since is not what was reckoned."""
    first_granted(redis, store)
    ending, ledger = end_of(replace(FIRST))
    store.settle(ending, ledger)
    redis.hset(keys.ledger("BTCUSDT"), "position_amt", "3")
    assert go_on(store) == ("moved", [b"PONG"])
    assert open_plans(redis) == set()
    assert redis.exists(keys.permit("plan-2"))


@pytest.mark.parametrize(
    ("spoil", "answer"),
    [
        (lambda redis: redis.set(keys.KILL_SWITCH, '{"active":true}'), "killed"),
        (lambda redis: redis.delete(keys.permit("plan-2")), "permit_gone"),
        (lambda redis: redis.set(keys.executor_done(SECOND.identity), "1"), "duplicate"),
        (lambda redis: redis.set(keys.drill("plan-2"), "1"), "drill"),
    ],
)
def test_the_first_ends_whatever_stands_against_the_second(
    redis: RedisClient, store: Store, spoil: object, answer: str
) -> None:
    first_granted(redis, store)
    assert callable(spoil)
    spoil(redis)
    assert go_on(store)[0] == answer
    assert open_plans(redis) == set()
    assert redis.xlen(keys.APPLY_RESULT) == 1
