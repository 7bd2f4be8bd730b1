"""Stops that rest on the exchange, and their cancellation."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from quantum_exit import keys
from quantum_exit.executor.grant import stop_client_id

from .harness import BRIDGE, OWNER, World, wait_for


@pytest.mark.parametrize(
    ("amount", "side", "rests_at"), [("1", "LONG", "50000"), ("-1", "SHORT", "50000.1")]
)
def test_a_stop_between_two_ticks_rests_on_the_further_one(
    world: World, amount: str, side: str, rests_at: str
) -> None:
    world.hold("BTCUSDT", amount)
    world.exchange.set_price("BTCUSDT", "55000" if side == "LONG" else "45000")
    intent = world.intent(action="PLACE_STOP", side=side, trigger_price="50000.07321")
    order = {"side": "SELL" if side == "LONG" else "BUY", "trigger_price": "50000.07321"}
    stop = world.by_intent(intent, type="STOP_MARKET", **order)
    assert world.outcome(stop) == ("EXECUTED", "")
    (resting,) = world.exchange.state()["open_algos"]
    assert Decimal(resting["triggerPrice"]) == Decimal(rests_at)


def test_stops_that_are_refused_over_and_over_keep_no_close_from_the_owner(
    empty_world: World,
) -> None:
    world = empty_world
    world.hold("BTCUSDT", "1")
    world.start(INTENT_EXECUTOR_MAX_REPEATS="2")
    world.exchange.add_fault(method="POST", path="/fapi/v1/algoOrder", answer="400_signature")

    def place() -> str:
        wish = world.intent(action="PLACE_STOP", trigger_price="50000")
        return world.outcome(world.by_intent(wish, type="STOP_MARKET", trigger_price="50000"))[1]

    assert place().startswith("binance_error")
    wait_for(lambda: place() == "limit_exceeded:max_repeats", "too many of the same")
    assert not world.redis.exists(keys.executor_stopped_source(OWNER))
    assert world.outcome(world.by_intent(world.intent(quantity="1"))) == ("EXECUTED", "")


def test_a_stop_that_was_taken_and_rejected_is_no_success(world: World) -> None:
    """As a search finds it whose answer was lost: it protects nothing."""
    world.hold("BTCUSDT", "1")
    intent = world.intent(action="PLACE_STOP", trigger_price="50000")
    stop = world.by_intent(intent, type="STOP_MARKET", trigger_price="50000")
    told = {
        "algoId": 1,
        "clientAlgoId": stop_client_id(intent["intent_id"]),
        "algoStatus": "REJECTED",
        "symbol": "BTCUSDT",
        "side": "SELL",
        "quantity": "1",
        "triggerPrice": "50000",
        "reduceOnly": True,
    }
    lost = {"method": "POST", "path": "/fapi/v1/algoOrder", "times": 1}
    world.exchange.add_fault(**lost, answer={"status": 200, "body": told})
    result = world.result(world.send(stop))
    assert (result["decision"], result["error"]) == ("ERROR", "binance_error:0:stop REJECTED")


def test_a_stop_rests_on_the_exchange_and_is_cancelled(world: World) -> None:
    world.hold("BTCUSDT", "1")
    intent = world.intent(action="PLACE_STOP", trigger_price="50000")
    stop = world.by_intent(intent, type="STOP_MARKET", trigger_price="50000")
    result = world.result(world.send(stop))
    assert (result["decision"], result["filled_qty"]) == ("EXECUTED", "0")
    (resting,) = world.exchange.state()["open_algos"]
    assert resting["clientAlgoId"] == result["client_order_id"]
    named = f"cancel:{result['client_order_id']}:1"
    cancel = world.intent(intent_id=named, action="CANCEL_STOP", quantity=None)
    plan = world.by_intent(cancel, type="CANCEL", qty="0")
    assert world.outcome(plan) == ("EXECUTED", "")
    assert world.exchange.state()["open_algos"] == []


@pytest.mark.parametrize(
    ("delegated", "named", "expected"),
    [
        ("BTCUSDT", "BTCUSDT", ("DENIED", f"NOT_EXIT_OWNER:source={BRIDGE}")),
        (None, "BTCUSDT", ("ERROR", "invalid_field:symbol")),
        (None, "ETHUSDT", ("EXECUTED", "")),
    ],
)
def test_a_stop_is_cancelled_under_its_own_symbol_alone(
    world: World, delegated: str | None, named: str, expected: tuple[str, str]
) -> None:
    """Who may exit in one symbol takes no stop of another."""
    client_id = resting_stop(world, "ETHUSDT", "1000")
    world.hold("BTCUSDT", "1")
    world.redis.set(keys.delegation(BRIDGE), json.dumps({"symbol": delegated}), ex=60)
    cancel = {"type": "CANCEL", "qty": "0", "plan_id": f"cancel:{client_id}:1"}
    assert world.outcome(world.plan(symbol=named, source=BRIDGE, **cancel)) == expected
    resting = [algo["clientAlgoId"] for algo in world.exchange.state()["open_algos"]]
    assert resting == ([] if expected[0] == "EXECUTED" else [client_id])


def test_nor_is_it_cancelled_while_its_symbol_cannot_be_read(world: World) -> None:
    client_id = resting_stop(world, "ETHUSDT", "1000")
    world.redis.set(keys.delegation(BRIDGE), json.dumps({"symbol": None}), ex=60)
    world.exchange.add_fault(method="GET", path="/fapi/v1/algoOrder", answer="502_html")
    cancel = {"type": "CANCEL", "qty": "0", "plan_id": f"cancel:{client_id}:1"}
    decision, error = world.outcome(world.plan(symbol="ETHUSDT", source=BRIDGE, **cancel))
    assert (decision, error[:14]) == ("ERROR", "binance_error:")
    assert world.exchange.state()["open_algos"] != []


def resting_stop(world: World, symbol: str, trigger_price: str) -> str:
    """Of a position of 1, by the owner; its client id."""
    world.hold(symbol, "1")
    intent = world.intent(symbol=symbol, action="PLACE_STOP", trigger_price=trigger_price)
    stop = world.by_intent(intent, type="STOP_MARKET", trigger_price=trigger_price)
    return world.result(world.send(stop))["client_order_id"]


@pytest.mark.parametrize("name", ["qs-", "qs-a&b", "qs-\u00e9", "qs-" + "0" * 60])
def test_a_cancel_names_a_stop_of_ours_or_nothing(world: World, name: str) -> None:
    """A delegate chooses the id of its plan, and with it the name of the stop."""
    world.hold("BTCUSDT", "1")
    world.redis.set(keys.delegation(BRIDGE), json.dumps({"symbol": None}), ex=60)
    cancel = world.plan(source=BRIDGE, type="CANCEL", qty="0", plan_id=f"cancel:{name}:1")
    assert world.outcome(cancel) == ("ERROR", "invalid_field:intent")
    assert not world.redis.hlen(keys.EXECUTOR_OPEN)
    assert world.outcome(world.signed()) == ("EXECUTED", "")
