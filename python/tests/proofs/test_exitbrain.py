"""The Exit Brain's proof over the whole stack: green when well, and each test turned red."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from decimal import Decimal

import pytest

from quantum_exit import keys
from quantum_exit.brain.store import TRACKS

from ..conftest import wait_for
from ..stack import Stack, run_module

SYMBOL = "BTCUSDT"
TESTS = ["service", "cycles", "mode", "kill_switch", "exchange", "history"]


def outcomes(stack: Stack, *arguments: str) -> dict[str, str]:
    done = stack.exitctl("proof", "exitbrain", "--json", *arguments)
    assert [test["key"] for test in done.json["tests"]] == TESTS, done
    assert done.code == done.json["exit_code"]
    return {test["key"]: test["outcome"] for test in done.json["tests"]}


def red(stack: Stack, *arguments: str) -> set[str]:
    return {key for key, outcome in outcomes(stack, *arguments).items() if outcome == "FAIL"}


def open_and_close(stack: Stack) -> None:
    """A real entry, and a real exit by the owner's stop."""
    sent = stack.exitctl(
        *("plan", "send", "--symbol", SYMBOL, "--side", "BUY", "--qty", "0.01"),
        *("--source", "intent_bridge", "--reason", "test"),
    )
    assert sent.code == 0, sent
    price = stack.exchange.price(SYMBOL)
    stack.exchange.set_price(SYMBOL, price * Decimal("0.9"))
    wait_for(lambda: not stack.exchange.position(SYMBOL), "the stop closes it")
    wait_for(lambda: stack.redis.xlen(keys.APPLY_RESULT) >= 2, "the result is told")


def test_a_well_host_passes_six_of_six(stack: Stack) -> None:
    assert outcomes(stack) == {**dict.fromkeys(TESTS, "PASS"), "history": "INFO"}
    open_and_close(stack)
    done = stack.exitctl("proof", "exitbrain")
    assert done.code == 0, done
    assert done.out.rstrip().endswith("FINAL VERDICT: ✅ PASS (6/6)"), done
    assert "reduceOnly=true FILLED" in done.out
    assert "⚠️" not in done.out, done
    assert stack.redis.xlen(keys.ALERTS) == 0


def stops_told(stack: Stack) -> str:
    done = stack.exitctl("proof", "exitbrain", "--json")
    (exchange,) = [test for test in done.json["tests"] if test["key"] == "exchange"]
    (line,) = [line for line in exchange["evidence"] if line.startswith("stops on the exchange")]
    return str(line)


def test_it_tells_whether_stops_rest_on_the_exchange(stack: Stack) -> None:
    assert "switched off" in stops_told(stack)
    stack.kill("exitbrain")
    stack.start("exitbrain", environ={"EXIT_BRAIN_EXCHANGE_STOP": "true"})
    stack.exchange.set_position(SYMBOL, "0.01")
    wait_for(lambda: stack.beat("exitbrain").get("exchange_stops") == "1", "a stop rests", 20)
    assert stops_told(stack) == "stops on the exchange: on, 1 rest"


def stop_the_brain(stack: Stack) -> None:
    stack.kill("exitbrain")


def freeze_the_brain(stack: Stack) -> None:
    stack.signal("exitbrain", signal.SIGSTOP)


def restart_in_shadow(stack: Stack) -> None:
    stack.kill("exitbrain")
    stack.start("exitbrain", environ={"EXIT_EXECUTOR_MODE": "SHADOW"})


def restart_with_env_kill(stack: Stack) -> None:
    stack.kill("exitbrain")
    stack.start("exitbrain", environ={"EXIT_EXECUTOR_KILL_SWITCH": ""})


def switch_on_in_redis(stack: Stack) -> None:
    stack.switch(active=True)
    wait_for(lambda: stack.beat("exitbrain").get("mode") == "KILLED", "the brain sees it")


def lose_the_switch(stack: Stack) -> None:
    stack.redis.delete(keys.KILL_SWITCH)
    wait_for(lambda: stack.beat("exitbrain").get("mode") == "KILLED", "the brain sees it")


def switch_on_in_the_file(stack: Stack) -> None:
    stack.kill_file.write_text("on\n")
    wait_for(lambda: stack.beat("exitbrain").get("mode") == "KILLED", "the brain sees it")


def revoke_the_key(stack: Stack) -> None:
    stack.exchange.revoke_key(stack.exchange.read_api_key)
    wait_for(lambda: stack.beat("exitbrain").get("ready") == "false", "the brain sees it")


def empty_account(stack: Stack) -> None:
    stack.exchange.add_fault(path="/fapi/v3/balance", answer={"status": 200, "body": []})


def exchange_errors(stack: Stack) -> None:
    stack.exchange.add_fault(path="/fapi/*/balance", answer="503_internal")


@pytest.mark.parametrize(
    ("sabotage", "expected"),
    [
        (stop_the_brain, {"service", "cycles"}),
        (freeze_the_brain, {"cycles"}),
        (restart_in_shadow, {"mode"}),
        (restart_with_env_kill, {"mode", "kill_switch"}),
        (switch_on_in_redis, {"mode", "kill_switch"}),
        (lose_the_switch, {"mode", "kill_switch"}),
        (switch_on_in_the_file, {"mode", "kill_switch"}),
        (revoke_the_key, {"service", "exchange"}),
        (empty_account, {"exchange"}),
        (exchange_errors, {"exchange"}),
    ],
)
def test_each_fault_turns_its_tests_red(
    stack: Stack, sabotage: Callable[[Stack], None], expected: set[str]
) -> None:
    sabotage(stack)
    assert red(stack) == expected
    [(_, alert)] = stack.redis.xrevrange(keys.ALERTS, count=1)
    assert alert["alert_type"] == "PROOF_FAILED"
    assert json.loads(alert["details"])["proof"] == "exitbrain"


def test_a_position_without_a_stop_fails(stack: Stack) -> None:
    stack.kill("exitbrain")
    stack.exchange.set_position(SYMBOL, "0.01")
    done = stack.exitctl("proof", "exitbrain", "--json")
    exchange = next(test for test in done.json["tests"] if test["key"] == "exchange")
    assert exchange["outcome"] == "FAIL"
    assert f"without a stop in the Exit Brain: {SYMBOL}" in exchange["evidence"]


def invented_result(symbol: str) -> dict[str, str]:
    return {
        "event_type": "apply.result",
        "plan_id": "invented",
        "symbol": symbol,
        "executed": "true",
        "order_id": "1",
        "client_order_id": "qx-invented-1",
        "filled_qty": "1",
        "timestamp": f"{time.time():.6f}",
    }


def test_a_result_that_the_exchange_does_not_know_fails(stack: Stack) -> None:
    invented = invented_result(SYMBOL)
    stack.redis.xadd(keys.APPLY_RESULT, dict(invented.items()))
    done = stack.exitctl("proof", "exitbrain", "--json")
    assert done.code == 1, done
    assert red(stack) == {"history"}
    long_ago = {**invented, "timestamp": str(time.time() - 91 * 86_400)}
    stack.redis.xadd(keys.APPLY_RESULT, dict(long_ago.items()))
    assert red(stack) == set(), "the exchange keeps its books for 90 days"
    stack.redis.xadd(keys.APPLY_RESULT, dict(invented.items()))
    # After a move to another environment it is in the books of the one that was left.
    last = stack.redis.xrevrange(keys.APPLY_RESULT, count=1)[0][0]
    stack.redis.hset(keys.ENVIRONMENT, "results_after", last)
    assert red(stack) == set()
    stack.redis.xadd(keys.APPLY_RESULT, dict(invented.items()))
    assert red(stack) == {"history"}


def test_a_killed_host_passes_when_killed_is_expected(stack: Stack) -> None:
    assert red(stack, "--expect", "killed") == {"kill_switch"}
    assert stack.exitctl("kill", "--reason", "test").code == 0
    wait_for(lambda: stack.beat("exitbrain").get("mode") == "KILLED", "the brain sees it")
    assert red(stack, "--expect", "killed") == set()


def test_a_shadow_host_passes_when_shadow_is_expected(stack: Stack) -> None:
    assert red(stack, "--expect", "shadow") == {"mode"}
    restart_in_shadow(stack)
    assert red(stack, "--expect", "shadow") == set()


@pytest.mark.parametrize(
    ("deployed", "asked", "expected"),
    [
        ("shadow", (), set()),
        ("shadow", ("--expect", "live"), {"mode"}),
        ("live", (), {"mode"}),
        ("shadwo", (), {"mode"}),
    ],
)
def test_by_the_clock_a_shadow_host_passes_when_it_was_deployed_as_one(
    stack: Stack, deployed: str, asked: tuple[str, ...], expected: set[str]
) -> None:
    restart_in_shadow(stack)
    environ = {**stack.operator, "QUANTUM_PROOF_EXPECT": deployed}
    done = run_module("quantum_exit.exitctl", ["proof", "exitbrain", "--json", *asked], environ)
    assert {t["key"] for t in done.json["tests"] if t["outcome"] == "FAIL"} == expected


def test_without_redis_it_could_not_be_run(stack: Stack) -> None:
    stack.redis.close()
    environ = {**stack.operator, "REDIS_URL": "redis://127.0.0.1:1/0"}
    done = run_module("quantum_exit.exitctl", ["proof", "exitbrain"], environ)
    assert done.code == 3, done
    assert "COULD NOT BE RUN" in done.out


def test_a_mistyped_proof_is_no_verdict(stack: Stack) -> None:
    assert stack.exitctl("proof", "exitbrian").code == 3


GONE = "AGONEUSDT"
"""First in the alphabet, so that drills would be held in it."""


def test_a_symbol_of_the_policy_that_is_not_traded_is_told_as_that(stack: Stack) -> None:
    stack.publish_policy([GONE, SYMBOL])
    done = stack.exitctl("proof", "exitbrain", "--json")
    [exchange] = [test for test in done.json["tests"] if test["outcome"] == "FAIL"]
    assert (done.code, exchange["key"], exchange["critical"]) == (1, "exchange", False), done
    assert any(GONE in line and "universe_symbols" in line for line in exchange["evidence"])
    assert not stack.redis.exists(keys.ALERTS)
    # What we did in it while it was traded can be looked up no more.
    stack.redis.xadd(keys.APPLY_RESULT, dict(invented_result(GONE).items()))
    assert outcomes(stack)["history"] == "INFO"
    assert stack.exitctl("proof", "exitbrain").code == 1


@pytest.mark.parametrize(
    ("what", "answer"),
    [
        ("openOrders", "503_internal"),
        ("openAlgoOrders", "503_internal"),
        ("balance", {"status": 200, "body": []}),
    ],
)
def test_and_hides_no_failure_to_ask(stack: Stack, what: str, answer: object) -> None:
    stack.publish_policy([GONE, SYMBOL])
    stack.exchange.add_fault(method="GET", path=f"/fapi/*/{what}", answer=answer)
    assert stack.exitctl("proof", "exitbrain").code == 2


def test_nor_a_position_in_it(stack: Stack) -> None:
    stack.publish_policy([GONE, SYMBOL])
    stack.exchange.set_position(SYMBOL, "0.01")
    wait_for(lambda: stack.redis.hlen(TRACKS) == 1, "the brain has taken it up")
    unknown = {"status": 400, "body": {"code": -1121, "msg": "Invalid symbol."}}
    stack.exchange.add_fault(method="GET", path="/fapi/v1/openOrders", answer=unknown)
    assert stack.exitctl("proof", "exitbrain").code == 2


def test_drills_are_held_in_no_symbol_that_is_not_traded(stack: Stack) -> None:
    stack.publish_policy([GONE, SYMBOL])
    for name in ("executor", "apply"):
        done = stack.exitctl_as_root("proof", name, "--json")
        assert done.code == 0, done
