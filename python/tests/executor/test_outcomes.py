"""Every outcome of a plan, through a real Redis and the paper exchange."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

import pytest

from quantum_exit import keys

from .harness import BRIDGE, OWNER, Fields, World


def test_the_owners_signed_exit_executes(world: World) -> None:
    world.hold("BTCUSDT", "1")
    plan = world.signed()
    result = world.result(world.send(plan))
    assert result["event_type"] == "apply.result"
    assert (result["executed"], result["decision"], result["error"]) == ("true", "EXECUTED", "")
    assert (result["symbol"], result["side"], result["qty"]) == ("BTCUSDT", "SELL", "1")
    assert (result["filled_qty"], result["order_status"]) == ("1", "FILLED")
    assert (result["source"], result["plan_source"]) == ("intent_executor", OWNER)
    assert result["lane"] == "main"
    assert json.loads(result["details"])["plan_id"] == plan["plan_id"]
    (order,) = world.orders()
    assert order.accepted
    assert order.params["reduceOnly"] == "true"
    assert order.client_order_id == result["client_order_id"]
    assert order.recv_window_ms == 1000
    assert world.exchange.position("BTCUSDT") == 0
    ledger = world.ledger("BTCUSDT")
    assert ledger["position_amt"] == "-1"
    assert ledger["last_order_id"] == result["order_id"]
    assert not world.redis.exists(keys.permit(plan["plan_id"]))
    world.assert_settled([plan["plan_id"]])


def test_the_owners_intent_executes_inside_the_apply_layers_plan(world: World) -> None:
    world.hold("ETHUSDT", "-2")
    intent = world.intent(symbol="ETHUSDT", side="SHORT", quantity="1.5")
    plan = world.by_intent(intent, side="BUY")
    assert world.outcome(plan) == ("EXECUTED", "")
    assert world.exchange.position("ETHUSDT") == Decimal("-0.5")


def test_an_intent_serves_once(world: World) -> None:
    world.hold("BTCUSDT", "1")
    intent = world.intent(quantity="0.2")
    assert world.outcome(world.by_intent(intent)) == ("EXECUTED", "")
    world.observe()
    again = world.by_intent(intent, plan_id="another")
    assert world.outcome(again) == ("DENIED", f"SOURCE_UNVERIFIED:source={OWNER}")
    assert world.exchange.position("BTCUSDT") == Decimal("0.8")


def test_an_opening_of_another_producer_executes(world: World) -> None:
    plan = world.opening(qty="0.02")
    assert world.outcome(plan) == ("EXECUTED", "")
    (order,) = world.orders()
    assert order.params["reduceOnly"] == "false"
    assert world.exchange.position("BTCUSDT") == Decimal("0.02")


def test_the_policys_leverage_is_set_before_opening(world: World) -> None:
    world.publish_policy("SOLUSDT", leverage=7)
    assert world.outcome(world.opening(symbol="SOLUSDT", qty="10")) == ("EXECUTED", "")
    paths = [order.path for order in world.exchange.orders(everything=True)]
    assert paths == ["/fapi/v1/leverage", "/fapi/v1/order"]


def test_an_exit_is_cut_to_the_position_and_the_permit(world: World) -> None:
    world.hold("BTCUSDT", "1")
    plan = world.signed(qty="5")
    world.allow(plan, safe_qty="0.4009")
    result = world.result(world.send(plan, permit=False))
    assert result["filled_qty"] == "0.4"
    world.observe()
    assert world.result(world.send(world.signed(qty="5")))["filled_qty"] == "0.6"
    assert world.exchange.position("BTCUSDT") == 0


def denied(error: str) -> tuple[str, str]:
    return "DENIED", error


@pytest.mark.parametrize(
    ("plan", "outcome"),
    [
        ({"qty": None, "side": ""}, ("ERROR", "missing_required_fields:side,qty")),
        ({"qty": "1e3"}, ("ERROR", "invalid_field:qty")),
        ({"decision": "BLOCKED", "reason": "layer_1"}, ("BLOCKED", "layer_1")),
        ({"decision": "SKIP", "reason": "no_need"}, ("SKIP", "no_need")),
        ({"source": "stranger"}, denied("source_not_allowed:stranger")),
        ({"source": BRIDGE}, denied(f"NOT_EXIT_OWNER:source={BRIDGE}")),
        ({"source": BRIDGE, "reduceOnly": None}, denied(f"NOT_EXIT_OWNER:source={BRIDGE}")),
        ({"source": BRIDGE, "reduceOnly": "false"}, denied(f"NOT_EXIT_OWNER:source={BRIDGE}")),
        ({}, denied(f"SOURCE_UNVERIFIED:source={OWNER}")),
        ({"sig": "0" * 128}, denied(f"SOURCE_UNVERIFIED:source={OWNER}")),
    ],
)
def test_what_never_comes_near_an_order(
    world: World, plan: dict[str, str | None], outcome: tuple[str, str]
) -> None:
    world.hold("BTCUSDT", "1")
    sent = world.plan(**plan)
    assert world.outcome(sent) == outcome
    assert world.orders() == []
    assert world.ledger("BTCUSDT") == {}
    assert world.redis.exists(keys.permit(sent["plan_id"]))
    world.assert_settled([sent["plan_id"]])


def test_a_denial_is_logged_as_operators_look_for_it(world: World) -> None:
    world.hold("BTCUSDT", "1")
    world.outcome(world.plan(source=BRIDGE))
    line = (
        f"🚫 DENY_NOT_EXIT_OWNER: {BRIDGE} attempted reduceOnly order on BTCUSDT "
        f"(only {OWNER} authorized)"
    )
    assert line in world.executors[0].log()


def test_too_old(world: World) -> None:
    world.hold("BTCUSDT", "1")
    decision, error = world.outcome(world.signed(timestamp=f"{time.time() - 61:.3f}"))
    assert decision == "EXPIRED"
    assert error.startswith("plan_expired")


def test_without_a_fresh_position(world: World) -> None:
    world.pretend("BTCUSDT", "1", age_s=11)
    assert world.outcome(world.signed()) == denied("position_stale")
    world.redis.delete(keys.snapshot("BTCUSDT"), keys.SNAPSHOT_STATE)
    assert world.outcome(world.opening()) == denied("position_stale")
    assert world.outcome(world.plan(source=BRIDGE)) == denied(f"NOT_EXIT_OWNER:source={BRIDGE}")
    assert world.orders() == []


def test_a_plan_behind_the_one_that_opened_reduces_nothing_before_the_position_is_seen(
    world: World,
) -> None:
    """The account was read without the symbol: our own fill is younger than that."""
    world.exchange.set_latency(50)
    world.observe()
    plans = [world.opening(side="BUY"), world.opening(side="SELL")]
    for plan in plans:
        world.send(plan)
    opened, closed = (world.result(plan["plan_id"]) for plan in plans)
    assert opened["decision"] == "EXECUTED"
    assert closed["error"] == f"NOT_EXIT_OWNER:source={BRIDGE}"


@pytest.mark.parametrize("key", [keys.ledger("BTCUSDT"), keys.SNAPSHOT_STATE])
def test_a_key_of_another_type_is_unreadable_and_ends_no_session(world: World, key: str) -> None:
    world.hold("BTCUSDT", "1")
    world.redis.delete(key)
    world.redis.set(key, "x")
    assert world.outcome(world.signed()) == ("EXECUTED", "")
    assert world.outcome(world.opening(symbol="ETHUSDT"))[0] in ("EXECUTED", "DENIED")
    world.redis.delete(key)


def test_already_flat(world: World) -> None:
    assert world.outcome(world.signed()) == denied("already_flat")


def test_less_than_a_step(world: World) -> None:
    world.hold("BTCUSDT", "1")
    assert world.outcome(world.signed(qty="0.0004")) == denied("quantity_below_step")
    plan = world.signed()
    world.allow(plan, safe_qty="0.0004")
    assert world.outcome(plan, permit=False) == denied("quantity_below_step")


def test_opening_without_a_valid_policy(world: World) -> None:
    world.publish_policy("BTCUSDT", lasts_s=-1)
    assert world.outcome(world.opening()) == denied("policy_missing_or_stale")
    world.redis.delete(keys.POLICY_CURRENT)
    assert world.outcome(world.opening()) == denied("policy_missing_or_stale")
    world.hold("BTCUSDT", "1")
    assert world.outcome(world.signed()) == ("EXECUTED", "")


def test_opening_against_the_filters(world: World) -> None:
    decision, error = world.outcome(world.opening(qty="0.001"))
    assert decision == "DENIED"
    assert error.startswith("min_notional_check_failed:")
    world.publish_policy("ETHUSDT")
    assert world.outcome(world.opening()) == denied("symbol_not_in_allowlist:BTCUSDT")


def test_no_permit_and_a_refused_one(world: World) -> None:
    world.hold("BTCUSDT", "1")
    began = time.monotonic()
    assert world.outcome(world.signed(), permit=False) == denied("p33_permit_missing_or_denied")
    assert 0.45 < time.monotonic() - began < 2.5
    plan = world.signed()
    world.allow(plan, allow=False, reason="cooldown")
    assert world.outcome(plan, permit=False) == denied("p33_permit_denied:cooldown")
    assert world.orders() == []


def test_the_exchange_refuses(world: World) -> None:
    world.exchange.add_fault(method="POST", path="/fapi/v1/order", answer="400_margin")
    decision, error = world.outcome(world.opening())
    assert decision == "ERROR"
    assert error == "binance_error:-2019:Margin is insufficient."


def test_flat_only_beside_an_observed_zero(world: World) -> None:
    world.pretend("BTCUSDT", "1")
    assert world.outcome(world.signed()) == denied("already_flat")
    (order,) = world.orders()
    assert order.code == -2022
    world.exchange.set_position("BTCUSDT", "1")
    world.pretend("BTCUSDT", "1")
    world.exchange.add_fault(method="POST", path="/fapi/v1/order", answer="400_reduce_only")
    decision, error = world.outcome(world.signed())
    assert (decision, error[:20]) == ("ERROR", "binance_error:-2022:")


@pytest.mark.parametrize("how", ["string", "hash"])
def test_a_permit_without_an_event_is_found_within_a_quarter_second(world: World, how: str) -> None:
    world.hold("BTCUSDT", "1")
    plan = world.signed()
    world.send(plan, permit=False)
    time.sleep(0.1)  # it is waiting by now; nobody says so
    began = time.monotonic()
    if how == "string":
        document = {"allow": True, "symbol": "BTCUSDT", "safe_qty": 1, "created_at": time.time()}
        world.redis.set(keys.permit(plan["plan_id"]), json.dumps(document))
    else:
        fields = {"allow": "true", "symbol": "BTCUSDT", "safe_qty": "1"}
        world.redis.hset(keys.permit(plan["plan_id"]), mapping=fields)
    assert world.result(plan["plan_id"])["decision"] == "EXECUTED"
    assert time.monotonic() - began < 1.0  # 0.25 s on an idle machine


def test_the_manual_lane(world: World) -> None:
    world.hold("BTCUSDT", "1")
    consumed = world.metric("manual_consumed")
    assert world.outcome(world.signed(qty="0.1"), manual=True) == denied("manual_lane_disabled")
    world.redis.set(keys.MANUAL_LANE_ENABLED, "1")
    assert world.outcome(world.signed(qty="0.1"), manual=True) == denied("manual_lane_disabled")
    world.redis.set(keys.MANUAL_LANE_ENABLED, "1", ex=60)
    result = world.result(world.send(world.signed(qty="0.1"), manual=True))
    assert (result["decision"], result["lane"]) == ("EXECUTED", "manual")
    world.redis.set(keys.MANUAL_LANE_ENABLED, "yes", ex=60)
    assert world.outcome(world.signed(qty="0.1"), manual=True) == denied("manual_lane_disabled")
    assert world.metric("manual_consumed") == consumed + 4


def test_a_delegation(world: World) -> None:
    world.hold("BTCUSDT", "1")
    world.hold("ETHUSDT", "1")

    def exit_of(symbol: str) -> Fields:
        return world.plan(source="manual_close", symbol=symbol, qty="0.1")

    name = keys.delegation("manual_close")
    assert world.outcome(exit_of("BTCUSDT")) == denied("source_not_allowed:manual_close")
    world.redis.set(name, json.dumps({"symbol": "BTCUSDT", "reason": "test"}), px=700)
    assert world.outcome(exit_of("BTCUSDT")) == ("EXECUTED", "")
    assert world.outcome(exit_of("ETHUSDT")) == denied("source_not_allowed:manual_close")
    while world.redis.exists(name):
        time.sleep(0.01)
    assert world.outcome(exit_of("BTCUSDT")) == denied("source_not_allowed:manual_close")
    world.redis.set(name, json.dumps({"symbol": "*"}))
    assert world.outcome(exit_of("BTCUSDT")) == denied("source_not_allowed:manual_close")


@pytest.mark.parametrize("forged", [{"safe_qty": "0.001"}, {"allow": False, "reason": "no"}])
def test_a_permit_for_a_copy_that_guessed_the_id_is_not_the_owners(
    world: World, forged: dict[str, object]
) -> None:
    """P3.3 rules on every entry, also on one that only claims to be the owner's."""
    world.hold("BTCUSDT", "1")
    plan = world.signed()
    copy = {"source": OWNER, "stream": keys.APPLY_PLAN, "verified": False}
    world.allow(plan, **copy, entry_id="1-1", **forged)
    world.send(plan, permit=False)
    last: Any = world.redis.xrevrange(keys.APPLY_PLAN, count=1)
    assert world.outcome(world.plan(source=BRIDGE), permit=False)[0] == "DENIED"  # read by now
    world.allow(plan, **{**copy, "verified": True}, entry_id=last[0][0])
    assert world.result(plan["plan_id"])["filled_qty"] == "1"


def test_a_permit_of_a_p33_without_the_owners_key_counts_for_its_entry(world: World) -> None:
    world.hold("BTCUSDT", "1")
    plan = world.signed()
    world.send(plan, permit=False)
    last: Any = world.redis.xrevrange(keys.APPLY_PLAN, count=1)
    whose = {"source": OWNER, "stream": keys.APPLY_PLAN, "entry_id": last[0][0]}
    world.allow(plan, **whose, verified=False)
    assert world.result(plan["plan_id"])["filled_qty"] == "1"
