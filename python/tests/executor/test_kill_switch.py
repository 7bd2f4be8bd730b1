"""The kill switch, in each of its places and at the worst moments: no order, and all is said."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from decimal import Decimal

import pytest

from quantum_exit import keys

from .harness import BRIDGE, Executor, World, wait_for

KILLED = ("SHADOW", "kill_switch_active")
FENCE_S = 1.0


def _runtime(value: str | bytes | None) -> Callable[[World], object]:
    def engage(world: World) -> object:
        if value is None:
            return world.redis.delete(keys.KILL_SWITCH)
        return world.redis.set(keys.KILL_SWITCH, value)

    return engage


def _wrong_type(world: World) -> None:
    world.redis.delete(keys.KILL_SWITCH)
    world.redis.hset(keys.KILL_SWITCH, "active", "false")


def _brain_wrong_type(world: World) -> None:
    world.redis.lpush(keys.BRAIN_ENV_KILL, "false")


PLACES: dict[str, Callable[[World], object]] = {
    "on": lambda world: world.switch(active=True),
    "missing": _runtime(None),
    "malformed": _runtime("off"),
    "empty": _runtime(""),
    "a number": _runtime('{"active":0}'),
    "a string": _runtime('{"active":"false"}'),
    "null": _runtime('{"active":null}'),
    "said twice": _runtime('{"active":false,"active":true}'),
    "cut": _runtime('{"active":false'),
    "followed by something": _runtime('{"active":false} x'),
    "not utf-8": _runtime(b'\xff{"active":false}'),
    "in a list": _runtime('[{"active":false}]'),
    "deep": _runtime('{"active":' + "[" * 5000),
    "wrong type": _wrong_type,
    "the brain's environment": lambda world: world.redis.set(keys.BRAIN_ENV_KILL, "true"),
    "the brain's, wrong type": _brain_wrong_type,
    "file on": lambda world: world.kill_file.write_text("on\n"),
    "file empty": lambda world: world.kill_file.write_text(""),
    "file misspelt": lambda world: world.kill_file.write_text("Off\n"),
    "file missing": lambda world: world.kill_file.unlink(),
}


@pytest.mark.parametrize("place", PLACES)
def test_on_in_any_place(world: World, place: str) -> None:
    world.hold("BTCUSDT", "1")
    PLACES[place](world)
    plans = [world.signed(), world.opening(symbol="ETHUSDT", qty="1")]
    for plan in plans:
        assert world.outcome(plan) == KILLED
    assert world.orders() == []
    assert world.exchange.orders(everything=True) == []
    assert all(world.redis.exists(keys.permit(plan["plan_id"])) for plan in plans)
    world.assert_settled([plan["plan_id"] for plan in plans])
    world.be_well()
    world.hold("BTCUSDT", "1")
    assert world.outcome(world.signed()) == ("EXECUTED", "")


def test_leverage_is_not_touched_either(world: World) -> None:
    world.publish_policy("SOLUSDT", leverage=9)
    world.switch(active=True)
    assert world.outcome(world.opening(symbol="SOLUSDT", qty="10")) == KILLED
    assert world.exchange.orders(everything=True) == []


def test_in_the_executors_own_environment(empty_world: World) -> None:
    world = empty_world
    world.hold("BTCUSDT", "1")
    executor = world.start(wait=False, EXIT_EXECUTOR_KILL_SWITCH="")
    wait_for(lambda: "kill switch" in executor.beat().get("status", ""), "it says so", 15)
    assert world.outcome(world.signed()) == KILLED
    assert world.orders() == []


def test_engaged_between_two_attempts(world: World) -> None:
    """The first attempt was shed by the exchange; there is no second one."""
    world.hold("BTCUSDT", "1")
    world.exchange.add_fault(method="POST", path="/fapi/v1/order", answer="503_throttled")
    plan = world.signed()
    world.send(plan)
    wait_for(lambda: world.orders(), "the first attempt")
    world.switch(active=True)
    world.exchange.clear_faults()
    sent = len(world.orders())
    assert world.result(plan["plan_id"])["error"] == "kill_switch_active"
    time.sleep(0.3)
    assert len(world.orders()) <= sent + 1
    assert world.our_fills() == []
    world.assert_settled([plan["plan_id"]])


def test_engaged_while_an_outcome_is_unknown(world: World) -> None:
    """What was executed before the switch is still found out and said."""
    world.hold("BTCUSDT", "1")
    world.exchange.add_fault(method="POST", path="/fapi/v1/order", drop="after")
    world.exchange.add_fault(method="GET", path="/fapi/v1/order", times=3, answer="502_html")
    plan = world.signed(qty="0.3")
    world.send(plan)
    wait_for(lambda: world.our_fills(), "the fill")
    world.switch(active=True)
    result = world.result(plan["plan_id"])
    assert (result["decision"], result["filled_qty"]) == ("EXECUTED", "0.3")
    assert len(world.orders()) == 1


def test_a_resting_stop_of_a_flat_symbol_may_be_cancelled(world: World) -> None:
    world.hold("BTCUSDT", "1")
    intent = world.intent(action="PLACE_STOP", trigger_price="50000")
    stop = world.by_intent(intent, type="STOP_MARKET", trigger_price="50000")
    client_id = world.result(world.send(stop))["client_order_id"]

    def cancel() -> tuple[str, str]:
        named = f"cancel:{client_id}:{time.monotonic_ns()}"
        wish = world.intent(intent_id=named, action="CANCEL_STOP", quantity=None)
        return world.outcome(world.by_intent(wish, type="CANCEL", qty="0"))

    world.switch(active=True)
    assert cancel() == KILLED
    world.pretend("BTCUSDT", "0")
    # A fill of our own is younger than this zero: the stop may protect what it opened.
    younger = {"position_amt": "1", "updated_at": f"{time.time() + 1:.6f}"}
    world.redis.hset(keys.ledger("BTCUSDT"), mapping=younger)
    assert cancel() == KILLED
    world.redis.delete(keys.ledger("BTCUSDT"))
    world.hold("BTCUSDT", "0")
    if world.exchange.state()["open_algos"]:
        assert cancel() == ("EXECUTED", "")
    assert world.exchange.state()["open_algos"] == []


def test_the_stop_of_a_held_symbol_is_not_that_of_a_flat_one(world: World) -> None:
    """Whoever may exit everywhere names the stop by its id, and any symbol beside it."""
    world.hold("BTCUSDT", "1")
    world.hold("ETHUSDT", "0")
    intent = world.intent(action="PLACE_STOP", trigger_price="50000")
    stop = world.by_intent(intent, type="STOP_MARKET", trigger_price="50000")
    client_id = world.result(world.send(stop))["client_order_id"]
    world.redis.set(keys.delegation(BRIDGE), json.dumps({"symbol": None}), ex=60)
    world.switch(active=True)
    cancel = {"type": "CANCEL", "qty": "0", "plan_id": f"cancel:{client_id}:1"}
    plan = world.plan(symbol="ETHUSDT", source=BRIDGE, **cancel)
    assert world.outcome(plan) == ("ERROR", "invalid_field:symbol")
    [resting] = world.exchange.state()["open_algos"]
    assert resting["clientAlgoId"] == client_id


def test_it_stays_where_its_symbol_is_held_again_before_the_next_attempt(world: World) -> None:
    world.hold("BTCUSDT", "1")
    stop = world.by_intent(
        world.intent(action="PLACE_STOP", trigger_price="50000"),
        type="STOP_MARKET",
        trigger_price="50000",
    )
    client_id = world.result(world.send(stop))["client_order_id"]
    world.pretend("BTCUSDT", "0")
    world.switch(active=True)
    path = "/fapi/v1/algoOrder"
    world.exchange.add_fault(method="DELETE", path=path, answer="503_throttled")
    wish = world.intent(intent_id=f"cancel:{client_id}:1", action="CANCEL_STOP", quantity=None)
    cancel = world.by_intent(wish, type="CANCEL", qty="0")
    world.send(cancel)
    wait_for(lambda: world.exchange.orders(everything=True)[-1].method == "DELETE", "an attempt")
    world.hold("BTCUSDT", "1")
    world.exchange.clear_faults()
    result = world.result(cancel["plan_id"])
    assert (result["decision"], result["error"]) == KILLED
    assert len(world.exchange.state()["open_algos"]) == 1


def frozen_at(world: World, failpoint: str) -> tuple[Executor, str]:
    """An executor stopped by SIGSTOP between the grant of a plan and its sending."""
    world.hold("BTCUSDT", "1")
    executor = world.start(QUANTUM_FAILPOINT=f"freeze@{failpoint}")
    plan_id = world.send(world.signed(qty="0.5"))
    wait_for(executor.is_frozen, "the executor frozen")
    return executor, plan_id


def grant_of(world: World) -> dict[str, object]:
    (text,) = world.redis.hvals(keys.EXECUTOR_OPEN)
    grant: dict[str, object] = json.loads(text)
    return grant


def test_frozen_with_the_right_to_send_and_killed_meanwhile(empty_world: World) -> None:
    """The order dies at its fence: nothing signed before the kill is accepted after it."""
    world = empty_world
    executor, plan_id = frozen_at(world, "after_grant")
    grant = grant_of(world)
    fence_ms = int(str(grant["timestamp_ms"])) + int(str(grant["recv_window_ms"]))
    world.switch(active=True)
    wait_for(lambda: world.exchange.now_ms() > fence_ms, "the fence passed")
    executor.signal(signal.SIGCONT)
    result = world.result(plan_id)
    assert result["executed"] == "false"
    assert world.our_fills() == []
    assert world.exchange.position("BTCUSDT") == 1
    world.assert_settled([plan_id])


def test_frozen_and_thawed_without_a_kill(empty_world: World) -> None:
    """The dead request is never sent again; a new attempt is granted and signed anew."""
    world = empty_world
    executor, plan_id = frozen_at(world, "after_grant")
    time.sleep(FENCE_S + 0.2)
    executor.signal(signal.SIGCONT)
    assert world.result(plan_id)["decision"] == "EXECUTED"
    assert world.exchange.position("BTCUSDT") == Decimal("0.5")
    assert len(world.our_fills()) == 1


def test_held_up_on_the_wire_past_its_fence(world: World) -> None:
    """As an executor frozen in the middle of sending: the exchange itself refuses."""
    world.hold("BTCUSDT", "1")
    world.exchange.add_fault(method="POST", path="/fapi/v1/order", delay_before_ms=1_300)
    plan_id = world.send(world.signed(qty="0.5"))
    wait_for(lambda: world.redis.hlen(keys.EXECUTOR_OPEN), "the grant")
    world.switch(active=True)
    result = world.result(plan_id)
    assert result["error"].startswith(("binance_error:-1021:", "binance_error:-5028:"))
    assert world.our_fills() == []


def test_frozen_before_the_grant_and_killed_meanwhile(empty_world: World) -> None:
    world = empty_world
    executor, plan_id = frozen_at(world, "before_grant")
    world.switch(active=True)
    executor.signal(signal.SIGCONT)
    assert world.result(plan_id)["error"] == "kill_switch_active"
    assert world.orders() == []
