"""One plan's way through all processes: prices fall, the owner exits, nothing else may."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest

from quantum_exit import keys

from ..conftest import wait_for
from ..stack import Stack


@pytest.fixture
def running(stack: Stack) -> Stack:
    return stack


def send_plan(stack: Stack, plan_id: str, **fields: str) -> None:
    plan = {
        "plan_id": plan_id,
        "decision": "EXECUTE",
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "MARKET",
        "qty": "0.01",
        "reduceOnly": "false",
        "source": "intent_bridge",
        "signature": "intent_bridge",
        "timestamp": f"{time.time():.6f}",
        "action": "OPEN",
    }
    stack.redis.xadd(keys.APPLY_PLAN, dict(plan | fields))


def results(stack: Stack, **expected: str) -> list[dict[str, str]]:
    entries = stack.redis.xrange(keys.APPLY_RESULT)
    return [fields for _, fields in entries if expected.items() <= fields.items()]


def pending(stack: Stack) -> int:
    groups = stack.redis.xinfo_groups(keys.APPLY_PLAN)
    return sum(int(group["pending"]) + int(group["lag"] or 0) for group in groups)


def result_of(stack: Stack, plan_id: str) -> dict[str, str]:
    wait_for(lambda: results(stack, plan_id=plan_id), f"a result for {plan_id}")
    (result,) = results(stack, plan_id=plan_id)
    return result


def test_a_falling_price_closes_the_position_by_the_owners_stop(running: Stack) -> None:
    send_plan(running, "open-1")
    assert result_of(running, "open-1")["decision"] == "EXECUTED"
    assert running.exchange.position("BTCUSDT") == Decimal("0.01")

    running.exchange.set_price("BTCUSDT", "58700")
    wait_for(lambda: running.exchange.position("BTCUSDT") == 0, "the stop closes the position", 20)

    wait_for(lambda: results(running, plan_source="exitbrain_v3_5", executed="true"), "a result")
    (exit_result,) = results(running, plan_source="exitbrain_v3_5", executed="true")
    assert exit_result["filled_qty"] == "0.01"
    assert exit_result["side"] == "SELL"
    orders = [order for order in running.exchange.orders() if order.accepted]
    assert [order.client_order_id for order in orders][-1] == exit_result["client_order_id"]
    assert running.redis.hget(keys.ledger("BTCUSDT"), "position_amt") == "0"
    wait_for(lambda: pending(running) == 0, "every plan acknowledged")


def test_nobody_else_reduces_it_whatever_the_flag_says(running: Stack) -> None:
    send_plan(running, "open-2")
    assert result_of(running, "open-2")["executed"] == "true"

    send_plan(running, "flagged", side="SELL", reduceOnly="true")
    send_plan(running, "unflagged", side="SELL", reduceOnly="false")
    send_plan(running, "too-large", side="SELL", reduceOnly="false", qty="5")
    send_plan(running, "in-disguise", side="SELL", reduceOnly="true", source="exitbrain_v3_5")
    for plan_id in ("flagged", "unflagged", "too-large"):
        assert result_of(running, plan_id)["error"] == "NOT_EXIT_OWNER:source=intent_bridge"
    disguised = result_of(running, "in-disguise")
    assert disguised["error"] == "SOURCE_UNVERIFIED:source=exitbrain_v3_5"
    assert running.exchange.position("BTCUSDT") == Decimal("0.01")


def test_the_kill_switch_lets_nothing_through_and_the_exit_follows_its_release(
    running: Stack,
) -> None:
    send_plan(running, "open-3")
    assert result_of(running, "open-3")["executed"] == "true"
    running.switch(active=True)
    send_plan(running, "while-killed")
    denied = result_of(running, "while-killed")
    assert (denied["decision"], denied["error"]) == ("SHADOW", "kill_switch_active")
    orders_before = len(running.exchange.orders())
    running.exchange.set_price("BTCUSDT", "58000")
    wait_for(lambda: running.redis.xlen(keys.EXIT_SHADOW) > 0, "the brain goes on deciding", 20)
    assert len(running.exchange.orders()) == orders_before

    running.switch(active=False)
    wait_for(lambda: running.exchange.position("BTCUSDT") == 0, "the exit follows the release", 30)
