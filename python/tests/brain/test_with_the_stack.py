"""The brain among the real services: its stop on the exchange, and who changed a position."""

import json
import random
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from quantum_exit import keys
from quantum_exit.values import format_number

from ..conftest import wait_for
from ..stack import Stack

BTC = "BTCUSDT"


@pytest.fixture
def stack_with_stops(stack: Stack) -> Stack:
    stack.kill("exitbrain")
    stack.start("exitbrain", environ={"EXIT_BRAIN_EXCHANGE_STOP": "true"})
    return stack


def _plan(stack: Stack, plan_id: str, side: str, qty: str) -> None:
    stack.redis.xadd(
        keys.APPLY_PLAN,
        {
            "plan_id": plan_id,
            "decision": "EXECUTE",
            "symbol": BTC,
            "side": side,
            "type": "MARKET",
            "qty": qty,
            "reduceOnly": "false",
            "source": "intent_bridge",
            "signature": "intent_bridge",
            "timestamp": f"{time.time():.6f}",
            "action": "OPEN",
        },
    )


def _open(stack: Stack, plan_id: str, side: str, qty: str) -> None:
    """A plan that P3.3 refuses (soon after another one's fill, say) is followed by another."""

    def refused() -> bool:
        found: Any = stack.redis.xrange(keys.APPLY_RESULT)
        return any(f["plan_id"] == last and f["executed"] == "false" for _, f in found)

    before = stack.exchange.position(BTC)
    for attempt in range(10):
        last = f"{plan_id}-{attempt}"
        _plan(stack, last, side, qty)
        wait_for(lambda: stack.exchange.position(BTC) != before or refused(), f"{last} ends", 15)
        if stack.exchange.position(BTC) != before:
            return
        _cycles(stack, 5)
    raise AssertionError(f"{plan_id} was refused ten times")


def _stops(stack: Stack) -> list[dict[str, Any]]:
    answer = stack.exchange.signed("GET", "/fapi/v1/openAlgoOrders")
    assert answer.status == 200, answer
    found: list[dict[str, Any]] = answer.body
    return found


def _one_stop(stack: Stack, check: Callable[[Decimal], bool]) -> bool:
    stops = _stops(stack)
    return len(stops) == 1 and check(Decimal(stops[0]["triggerPrice"]))


def _unauthorized(stack: Stack) -> list[dict[str, Any]]:
    found: Any = stack.redis.xrange(keys.ALERTS)
    return [
        json.loads(fields["details"])
        for _, fields in found
        if fields["alert_type"] == "UNAUTHORIZED_POSITION_CHANGE"
    ]


def _cycles(stack: Stack, count: int) -> None:
    begin = int(stack.beat("exitbrain")["cycle"])
    wait_for(lambda: int(stack.beat("exitbrain")["cycle"]) >= begin + count, f"{count} cycles", 20)


def test_a_stop_rests_on_the_exchange_moves_and_is_swept(stack_with_stops: Stack) -> None:
    stack = stack_with_stops
    trailing = {"stop_loss_pct": 2, "trailing_start_pct": 1, "trailing_distance_pct": 1}
    stack.redis.hset(keys.POLICY_CURRENT, "harvest_params", json.dumps({"default": trailing}))
    stack.exchange.set_price(BTC, "60123.7")  # what is a percentage of it lies between two ticks
    _open(stack, "open", "BUY", "0.01")
    entry = stack.exchange.price(BTC)
    wait_for(lambda: _one_stop(stack, lambda t: t < entry * Decimal("0.98")), "a far stop", 15)
    stack.exchange.set_price(BTC, entry * Decimal("1.1"))
    wait_for(lambda: _one_stop(stack, lambda t: t > entry), "the stop moved", 15)
    stack.exchange.set_price(BTC, entry * Decimal("1.08"))
    wait_for(lambda: stack.exchange.position(BTC) == 0, "the trailing stop closes", 15)
    wait_for(lambda: _stops(stack) == [], "the stop is swept", 15)
    _cycles(stack, 5)
    assert _unauthorized(stack) == []


def test_the_stop_on_the_exchange_holds_without_us_and_is_no_false_alarm(
    stack_with_stops: Stack,
) -> None:
    stack = stack_with_stops
    _open(stack, "open", "BUY", "0.01")
    entry = stack.exchange.price(BTC)
    wait_for(lambda: len(_stops(stack)) == 1, "a stop rests", 15)
    _cycles(stack, 2)
    stack.kill("exitbrain")
    stack.exchange.set_price(BTC, entry * Decimal("0.9"))
    wait_for(lambda: stack.exchange.position(BTC) == 0, "the exchange's stop closes it", 10)
    stack.start("exitbrain", environ={"EXIT_BRAIN_EXCHANGE_STOP": "true"})
    _cycles(stack, 5)
    assert _unauthorized(stack) == []


def test_our_own_trades_raise_no_alarm_and_everybody_elses_do(stack: Stack) -> None:
    for number in range(5):
        _open(stack, f"open-{number}", "BUY" if number % 2 else "SELL", "0.01")
        entry = stack.exchange.price(BTC)
        worse = Decimal("0.97") if number % 2 else Decimal("1.03")
        stack.exchange.set_price(BTC, entry * worse)
        wait_for(lambda: stack.exchange.position(BTC) == 0, "the stop closes it", 15)
        if number == 2:
            stack.kill("exitbrain")
            stack.start("exitbrain")
    _cycles(stack, 3)
    assert _unauthorized(stack) == []
    stack.exchange.set_position(BTC, "0.02", actor="hand")
    wait_for(lambda: len(_unauthorized(stack)) == 1, "opened by hand is told", 5)
    stack.exchange.set_position(BTC, "0", actor="liquidation")
    wait_for(lambda: len(_unauthorized(stack)) == 2, "a liquidation is told", 5)
    assert [(a["before"], a["after"]) for a in _unauthorized(stack)] == [
        ("0", "0.02"),
        ("0.02", "0"),
    ]


def test_an_answer_that_the_executor_waits_for_raises_no_alarm(stack: Stack) -> None:
    """The position shows on the exchange long before its result can be written."""
    _open(stack, "open", "BUY", "0.01")
    _cycles(stack, 3)
    entry = stack.exchange.price(BTC)
    stack.exchange.add_fault(method="POST", path="/fapi/v1/order", delay_after_ms=3000, times=1)
    stack.exchange.set_price(BTC, entry * Decimal("0.97"))
    wait_for(lambda: stack.exchange.position(BTC) == 0, "the close is executed", 15)
    _cycles(stack, 15)
    assert _unauthorized(stack) == []


def _level_of_a_half(stack: Stack) -> None:
    levels = {"stop_loss_pct": 2, "take_profits": [{"pct": 3, "fraction": "0.5"}]}
    stack.redis.hset(keys.POLICY_CURRENT, "harvest_params", json.dumps({"default": levels}))


def _intents(stack: Stack) -> list[dict[str, str]]:
    found: Any = stack.redis.xrange(keys.EXIT_INTENT)
    return [dict(fields) for _, fields in found]


def _results(stack: Stack, error: str) -> list[dict[str, str]]:
    found: Any = stack.redis.xrange(keys.APPLY_RESULT)
    return [dict(f) for _, f in found if f["error"].startswith(error)]


def _let_plans_wait(stack: Stack) -> None:
    """For their permits, until P3.3 is started again."""
    held = format_number(stack.exchange.position(BTC))
    seen = keys.snapshot(BTC)
    wait_for(lambda: stack.redis.hget(seen, "position_amt") == held, "it is observed", 15)
    stack.kill("position_state")


def test_a_level_that_was_filled_in_part_is_taken_to_its_share_and_no_further(
    stack: Stack,
) -> None:
    _level_of_a_half(stack)
    _open(stack, "open", "BUY", "0.011")
    entry = stack.exchange.price(BTC)
    stack.exchange.set_liquidity(BTC, "0.002")
    stack.exchange.set_price(BTC, entry * Decimal("1.03"))
    wait_for(lambda: stack.exchange.position(BTC) == Decimal("0.009"), "a part", 15)
    stack.exchange.set_liquidity(BTC, None)
    wait_for(lambda: stack.exchange.position(BTC) == Decimal("0.006"), "the whole share", 15)
    wait_for(lambda: _results(stack, "quantity_below_step"), "half a step is left", 15)
    asked = len(_intents(stack))
    _cycles(stack, 15)
    assert stack.exchange.position(BTC) == Decimal("0.006")
    assert len(_intents(stack)) == asked
    assert _unauthorized(stack) == []


def test_a_denial_that_somebody_calls_forth_in_our_name_takes_no_level_twice(
    stack: Stack,
) -> None:
    _level_of_a_half(stack)
    _open(stack, "open", "BUY", "0.01")
    entry = stack.exchange.price(BTC)
    _let_plans_wait(stack)
    stack.exchange.set_price(BTC, entry * Decimal("1.03"))
    wait_for(lambda: _intents(stack), "the level is asked for", 15)
    (intent,) = _intents(stack)
    forged: Any = {
        "plan_id": f"exit-{intent['intent_id']}",
        "decision": "EXECUTE",
        "symbol": BTC,
        "side": "BUY",
        "qty": "0.01",
        "source": intent["source"],
        "timestamp": f"{time.time():.6f}",
    }
    stack.redis.xadd(keys.APPLY_PLAN, forged)
    wait_for(lambda: _results(stack, "SOURCE_UNVERIFIED"), "its denial", 15)
    _cycles(stack, 8)
    assert len(_intents(stack)) == 1
    stack.start("position_state")
    wait_for(lambda: stack.exchange.position(BTC) == Decimal("0.005"), "the level", 15)
    _cycles(stack, 10)
    assert stack.exchange.position(BTC) == Decimal("0.005")
    assert len(_intents(stack)) == 1


def test_a_close_that_is_asked_for_twice_closes_once(stack: Stack) -> None:
    """A forged answer makes the brain ask early: the position bounds what a close can do."""
    _open(stack, "open", "BUY", "0.01")
    entry = stack.exchange.price(BTC)
    _let_plans_wait(stack)
    stack.exchange.set_price(BTC, entry * Decimal("0.97"))
    wait_for(lambda: _intents(stack), "the close is asked for", 15)
    (intent,) = _intents(stack)
    stack.redis.xadd(
        keys.APPLY_RESULT,
        {
            "event_type": "apply.result",
            "plan_id": f"exit-{intent['intent_id']}",
            "symbol": BTC,
            "executed": "false",
            "decision": "DENIED",
            "error": "position_stale",
            "side": "SELL",
            "filled_qty": "0",
            "plan_source": intent["source"],
        },
    )
    wait_for(lambda: len(_intents(stack)) == 2, "the close is asked for again", 15)
    stack.start("position_state")
    ours = {f"exit-{intent['intent_id']}" for intent in _intents(stack)}
    wait_for(lambda: {f["plan_id"] for f in _results(stack, "")} >= ours, "both are answered", 15)
    wait_for(lambda: stack.exchange.position(BTC) == 0, "it is closed", 15)
    _cycles(stack, 10)
    fills = [fill for fill in stack.exchange.fills() if fill.actor == "api"]
    assert sum(f.qty if f.side == "SELL" else -f.qty for f in fills) == 0
    assert stack.exchange.position(BTC) == 0
    assert _unauthorized(stack) == []


@pytest.mark.long
@pytest.mark.timeout(600)
def test_kills_at_random_raise_no_alarm_and_leave_no_position_without_its_exit(
    stack: Stack,
) -> None:
    dice = random.Random(7)
    for number in range(25):
        side, worse = dice.choice([("BUY", "0.97"), ("SELL", "1.03")])
        _open(stack, f"open-{number}", side, "0.01")
        entry = stack.exchange.price(BTC)
        killed = dice.choice(["exitbrain", "intent_executor", "apply_layer", ""])
        delay_s = dice.uniform(0, 0.6)
        stack.exchange.set_price(BTC, (entry * Decimal(worse)).quantize(Decimal("0.1")))
        if killed:
            time.sleep(delay_s)
            stack.kill(killed)
            stack.start(killed)
        # An intent that died with its plan is given up after a minute, and asked for again.
        wait_for(lambda: stack.exchange.position(BTC) == 0, f"round {number} closes", 90)
        stack.exchange.set_price(BTC, "60000")
    _cycles(stack, 5)
    assert _unauthorized(stack) == []
