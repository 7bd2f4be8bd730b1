"""The proofs of executor, Apply Layer and watch over the whole stack, and their sabotages."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable

import pytest

from quantum_exit import keys
from quantum_exit.alerts.watch import STATE
from quantum_exit.signing import Signer, generate_seed

from ..conftest import wait_for
from ..stack import OWNER, Stack


def outcomes(stack: Stack, proof: str, *arguments: str) -> dict[str, str]:
    done = stack.exitctl("proof", proof, "--json", *arguments)
    assert done.out, done
    assert done.code == done.json["exit_code"]
    return {test["key"]: test["outcome"] for test in done.json["tests"]}


def red(stack: Stack, proof: str, *arguments: str) -> set[str]:
    return {key for key, out in outcomes(stack, proof, *arguments).items() if out == "FAIL"}


# A Redis by hand keeps nothing on disk and asks nobody for a password.
BY_HAND = {"redis"}


def test_layer_2_denies_every_drill_and_nothing_reaches_the_exchange(stack: Stack) -> None:
    seen = outcomes(stack, "executor")
    assert seen.pop("redis") == "FAIL"
    assert set(seen.values()) == {"PASS"}, seen
    assert stack.exchange.orders() == []
    results = [fields for _, fields in stack.redis.xrange(keys.APPLY_RESULT)]
    assert len(results) == 6
    assert {result["executed"] for result in results} == {"false"}


def test_two_at_once_do_not_disturb_each_other(stack: Stack) -> None:
    seen: list[set[str]] = []
    runs = [threading.Thread(target=lambda: seen.append(red(stack, "executor"))) for _ in "ab"]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert seen == [BY_HAND, BY_HAND]


def test_its_drills_raise_no_alert_of_the_watch(stack: Stack) -> None:
    red(stack, "executor")
    red(stack, "apply")
    wait_for(lambda: stack.redis.xlen(keys.APPLY_RESULT) == 9, "blocked plans have results")
    assert stack.run("quantum_exit.alerts.watch").code == 0
    kinds = [fields["alert_type"] for _, fields in stack.redis.xrange(keys.ALERTS)]
    assert "EXIT_OWNER_VIOLATION" not in kinds
    assert stack.redis.hget(STATE, "drill_total") == "9"


def stop_the_executor(stack: Stack) -> None:
    stack.kill("intent_executor")


def open_the_gates(stack: Stack) -> None:
    """What a build would do whose ownership gate takes anybody for the owner."""
    stack.kill("intent_executor")
    stack.start("intent_executor", environ={"QUANTUM_EXIT_OWNER": "intent_bridge"})


def leave_one_open(stack: Stack) -> None:
    grant = {"plan_id": "old", "symbol": "ETHUSDT", "type": "CANCEL"}
    signed = {"timestamp_ms": int(time.time() * 1000) - 600_000, "recv_window_ms": 1000}
    stack.kill("intent_executor")
    stack.redis.hset(keys.EXECUTOR_OPEN, "old", json.dumps({**grant, **signed}))


def freeze_the_executor(stack: Stack) -> None:
    stack.signal("intent_executor", signal.SIGSTOP)


def switch_on(stack: Stack) -> None:
    stack.switch(active=True)


@pytest.mark.parametrize(
    ("sabotage", "expected"),
    [
        (stop_the_executor, {"service", "denials"}),
        (freeze_the_executor, {"denials"}),
        (open_the_gates, {"denials"}),
        (leave_one_open, {"service", "denials", "open"}),
        (switch_on, {"kill_switch"}),
    ],
)
def test_each_fault_turns_the_executors_checks_red(
    stack: Stack, sabotage: Callable[[Stack], None], expected: set[str]
) -> None:
    sabotage(stack)
    assert red(stack, "executor") == expected | BY_HAND


def test_a_missing_group_is_seen(stack: Stack) -> None:
    stack.kill("intent_executor")
    stack.redis.xgroup_destroy(keys.APPLY_PLAN, keys.GROUP_EXECUTOR)
    assert "groups" in red(stack, "executor")


def test_layer_1_blocks_intents_of_others(stack: Stack) -> None:
    seen = outcomes(stack, "apply")
    assert seen.pop("carried") == "INFO"
    assert set(seen.values()) == {"PASS"}, seen
    assert stack.exchange.orders() == []


def test_a_plan_whose_intent_is_not_the_owners_is_seen(stack: Stack) -> None:
    plan = {
        "plan_id": "p",
        "decision": "EXECUTE",
        "source": OWNER,
        "signature": "apply_layer",
        "intent": "{}",
    }
    stack.redis.xadd(keys.APPLY_PLAN, dict(plan.items()))
    assert red(stack, "apply") == {"carried"}


def stop_layer_1(stack: Stack) -> None:
    stack.kill("apply_layer")


def open_layer_1(stack: Stack) -> None:
    stack.kill("apply_layer")
    own_key = {"QUANTUM_PUBLIC_KEY_INTENT_BRIDGE": Signer(generate_seed()).public_hex}
    stack.start("apply_layer", environ={"QUANTUM_EXIT_OWNER": "intent_bridge", **own_key})


@pytest.mark.parametrize(
    ("sabotage", "expected"),
    [(stop_layer_1, {"service", "blocked"}), (open_layer_1, {"blocked"})],
)
def test_each_fault_turns_layer_1s_checks_red(
    stack: Stack, sabotage: Callable[[Stack], None], expected: set[str]
) -> None:
    sabotage(stack)
    assert red(stack, "apply") == expected


def test_the_watch_is_proven_to_look(stack: Stack) -> None:
    assert {"looked", "cursor"} <= red(stack, "watch")
    assert stack.run("quantum_exit.alerts.watch").code == 0
    assert red(stack, "watch") == set()


def test_a_watch_that_stopped_looking_is_seen(stack: Stack) -> None:
    stack.run("quantum_exit.alerts.watch")
    stack.redis.hset(STATE, "ts_epoch", str(time.time() - 3600))
    assert red(stack, "watch") == {"looked"}


def test_results_it_never_saw_are_seen(stack: Stack) -> None:
    stack.run("quantum_exit.alerts.watch")
    stack.redis.xadd(keys.APPLY_RESULT, {"plan_id": "a"})
    stack.redis.xadd(keys.APPLY_RESULT, {"plan_id": "b"})
    stack.redis.hset(STATE, mapping={"cursor": "0-1", "ts_epoch": str(time.time() + 5)})
    assert red(stack, "watch") == {"cursor"}


def test_a_policy_that_ran_out_is_seen(stack: Stack) -> None:
    stack.run("quantum_exit.alerts.watch")
    stack.publish_policy(["BTCUSDT"], lasts_s=-1)
    assert red(stack, "watch") == {"policy"}


def test_all_gives_the_worst_of_them(stack: Stack) -> None:
    stack.run("quantum_exit.alerts.watch")
    done = stack.exitctl("proof", "all", "--json")
    assert done.code == 1, done  # the executor's, by a Redis that keeps nothing on disk
    verdicts = {proof["proof"]: proof["verdict"] for proof in done.json["proofs"]}
    assert verdicts == {
        "exitbrain": "PASS",
        "executor": "PARTIAL",
        "apply": "PASS",
        "watch": "PASS",
        "host": "PASS",
    }
