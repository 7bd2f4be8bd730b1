"""The proofs of executor, Apply Layer and watch over the whole stack, and their sabotages."""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from collections.abc import Callable
from decimal import Decimal

import pytest
import redis

from quantum_exit import keys
from quantum_exit.alerts.watch import STATE
from quantum_exit.proofs import apply, observe
from quantum_exit.signing import Signer, generate_seed

from ..conftest import wait_for
from ..stack import Stack


def outcomes(stack: Stack, proof: str, *arguments: str) -> dict[str, str]:
    done = stack.exitctl_as_root("proof", proof, "--json", *arguments)
    assert done.out, done
    assert done.code == done.json["exit_code"]
    return {test["key"]: test["outcome"] for test in done.json["tests"]}


def red(stack: Stack, proof: str, *arguments: str) -> set[str]:
    return {key for key, out in outcomes(stack, proof, *arguments).items() if out == "FAIL"}


def results(stack: Stack) -> list[dict[str, str]]:
    return [fields for _, fields in stack.redis.xrange(keys.APPLY_RESULT)]


def test_layer_2_lets_the_owner_pass_and_denies_every_other(stack: Stack) -> None:
    assert set(outcomes(stack, "executor").values()) == {"PASS"}
    ended = results(stack)
    assert {result["executed"] for result in ended} == {"false"}
    assert [r["error"] for r in ended].count("drill_not_sent") == 1
    assert len(ended) == 9
    assert stack.exchange.orders() == []


def test_a_disguised_exit_is_tried_where_something_is_held(stack: Stack) -> None:
    stack.exchange.set_position("BTCUSDT", "0.01")
    wait_for(lambda: stack.redis.hget(keys.snapshot("BTCUSDT"), "position_amt") == "0.01", "seen")
    assert "denials" not in red(stack, "executor")
    [disguised] = [r for r in results(stack) if r["symbol"] == "BTCUSDT"]
    assert disguised["error"] == "NOT_EXIT_OWNER:source=intent_bridge"
    assert stack.exchange.position("BTCUSDT") == Decimal("0.01")


def test_a_registered_drill_is_never_sent(stack: Stack) -> None:
    """The last barrier by itself: an entry that every gate lets pass."""
    plan = {
        "plan_id": "drill-1",
        "decision": "EXECUTE",
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "MARKET",
        "qty": "0.01",
        "reduceOnly": "false",
        "source": "intent_bridge",
        "timestamp": str(time.time()),
    }
    stack.redis.set(keys.drill("drill-1"), "1", ex=60)
    stack.redis.xadd(keys.APPLY_PLAN, dict(plan.items()))
    wait_for(lambda: results(stack), "its result")
    assert [(r["decision"], r["error"]) for r in results(stack)] == [("SKIP", "drill_not_sent")]
    stack.redis.xadd(keys.APPLY_PLAN, {**plan, "plan_id": "plan-2"})
    wait_for(lambda: len(results(stack)) == 2, "its result")
    assert results(stack)[1]["executed"] == "true", "the same plan, not registered"
    assert len(stack.exchange.orders()) == 1


def test_a_drill_meets_the_kill_switch_like_any_order(stack: Stack) -> None:
    stack.switch(active=True)
    assert red(stack, "executor", "--expect", "killed") == set()
    assert "kill_switch_active" in {r["error"] for r in results(stack)}
    assert red(stack, "executor") == {"kill_switch", "passes"}


def test_two_at_once_do_not_disturb_each_other(stack: Stack) -> None:
    seen: list[set[str]] = []
    names = ("executor", "apply", "executor", "apply")
    runs = [threading.Thread(target=lambda n=n: seen.append(red(stack, n))) for n in names]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert seen == [set()] * 4


def test_they_leave_no_trace_in_trading_state(stack: Stack) -> None:
    def state() -> dict[str, object]:
        names = ("quantum:position:ledger:*", "quantum:executor:stopped:*", "quantum:reconcile:*")
        found = {k for name in names for k in stack.redis.scan_iter(match=name)}
        return {"keys": found, "open": stack.redis.hgetall(keys.EXECUTOR_OPEN)}

    before = state()
    for name in ("executor", "apply", "executor"):
        assert red(stack, name) == set()
    assert state() == before
    assert stack.exchange.orders() == []


def test_its_drills_raise_no_alert_of_the_watch(stack: Stack) -> None:
    red(stack, "executor")
    red(stack, "apply")
    wait_for(lambda: stack.redis.xlen(keys.APPLY_RESULT) == 14, "blocked plans have results")
    assert stack.run("quantum_exit.alerts.watch").code == 0
    kinds = [fields["alert_type"] for _, fields in stack.redis.xrange(keys.ALERTS)]
    assert "EXIT_OWNER_VIOLATION" not in kinds
    assert stack.redis.hget(STATE, "drill_total") == "12"


def test_drills_that_are_answered_late_raise_no_alert_either(stack: Stack) -> None:
    stack.signal("apply_layer", signal.SIGSTOP)
    try:
        assert "blocked" in red(stack, "apply")
    finally:
        stack.signal("apply_layer", signal.SIGCONT)
    wait_for(lambda: stack.redis.xlen(keys.APPLY_RESULT) == 5, "late plans have results", 20)
    assert stack.run("quantum_exit.alerts.watch").code == 0
    kinds = [fields["alert_type"] for _, fields in stack.redis.xrange(keys.ALERTS)]
    assert "EXIT_OWNER_VIOLATION" not in kinds


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
        (stop_the_executor, {"service", "passes", "denials"}),
        (freeze_the_executor, {"passes", "denials"}),
        (open_the_gates, {"passes", "denials"}),
        (leave_one_open, {"service", "passes", "denials", "open"}),
        (switch_on, {"kill_switch", "passes"}),
    ],
)
def test_each_fault_turns_the_executors_checks_red(
    stack: Stack, sabotage: Callable[[Stack], None], expected: set[str]
) -> None:
    sabotage(stack)
    assert red(stack, "executor") == expected


def test_a_missing_group_is_seen(stack: Stack) -> None:
    stack.kill("intent_executor")
    stack.redis.xgroup_destroy(keys.APPLY_PLAN, keys.GROUP_EXECUTOR)
    assert "groups" in red(stack, "executor")


def test_layer_1_blocks_intents_of_others(stack: Stack) -> None:
    assert set(outcomes(stack, "apply").values()) == {"PASS"}
    assert stack.exchange.orders() == []


def test_denials_since_its_last_run_are_told(stack: Stack) -> None:
    outcomes(stack, "apply")
    denied = {"plan_id": "p", "error": "NOT_EXIT_OWNER:source=x", "decision": "DENIED"}
    stack.redis.xadd(keys.APPLY_RESULT, dict(denied.items()))
    done = stack.exitctl_as_root("proof", "apply", "--json")
    [told] = [test for test in done.json["tests"] if test["key"] == "denials"]
    assert told["figures"] == {"denials": 1}
    assert "(layer 2: 1)" in told["evidence"][-1]


DENIED = {"plan_id": "p", "error": "NOT_EXIT_OWNER:source=x", "decision": "DENIED"}


def add_results(client: redis.Redis, *results: dict[str, str]) -> None:
    pipe = client.pipeline(transaction=False)
    for fields in results:
        pipe.xadd(keys.APPLY_RESULT, dict(fields.items()))
    pipe.execute()


def counted(client: redis.Redis) -> tuple[float, str]:
    up = observe.Beat("", 0.0, True, "", 1, 0.0, {})
    beats = {"apply_layer": up, "intent_executor": up}
    check = apply.denials_check(client, beats, time.time())
    return check.figures[0].value, check.evidence[-1]


def test_denials_are_counted_however_many_results_there_are(redis_client: redis.Redis) -> None:
    add_results(redis_client, DENIED)
    assert counted(redis_client)[0] == 0, "the first run"
    allowed = {"plan_id": "q", "error": "", "decision": "EXECUTED"}
    add_results(redis_client, DENIED, *[allowed] * 20_500, DENIED)
    assert counted(redis_client)[0] == 2
    assert counted(redis_client)[0] == 0
    add_results(redis_client, DENIED)
    assert counted(redis_client)[0] == 1


def test_results_that_it_could_not_count_are_told(redis_client: redis.Redis) -> None:
    add_results(redis_client, DENIED)
    counted(redis_client)
    add_results(redis_client, *[DENIED] * 5)
    redis_client.xtrim(keys.APPLY_RESULT, maxlen=2, approximate=False)
    count, told = counted(redis_client)
    assert count == 2
    assert "3 older result(s) were deleted" in told
    redis_client.delete(keys.APPLY_RESULT)
    add_results(redis_client, DENIED)
    assert counted(redis_client)[0] == 1, "the stream was made anew"


def know_another_owner_key(stack: Stack) -> None:
    stack.kill("apply_layer")
    other = {"QUANTUM_PUBLIC_KEY_EXITBRAIN_V3_5": Signer(generate_seed()).public_hex}
    stack.start("apply_layer", environ=other)


def stop_layer_1(stack: Stack) -> None:
    stack.kill("apply_layer")


def open_layer_1(stack: Stack) -> None:
    stack.kill("apply_layer")
    own_key = {"QUANTUM_PUBLIC_KEY_INTENT_BRIDGE": Signer(generate_seed()).public_hex}
    stack.start("apply_layer", environ={"QUANTUM_EXIT_OWNER": "intent_bridge", **own_key})


@pytest.mark.parametrize(
    ("sabotage", "expected"),
    [
        (stop_layer_1, {"service", "carried", "blocked"}),
        (open_layer_1, {"carried", "blocked"}),
        (know_another_owner_key, {"carried"}),
    ],
)
def test_each_fault_turns_layer_1s_checks_red(
    stack: Stack, sabotage: Callable[[Stack], None], expected: set[str]
) -> None:
    sabotage(stack)
    assert red(stack, "apply") == expected


def test_the_watch_is_proven_to_look(stack: Stack) -> None:
    assert "looked" in red(stack, "watch")
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
    done = stack.exitctl_as_root("proof", "all", "--json")
    assert done.code == 2, done  # the host's: a Redis by hand asks nobody for a password
    verdicts = {proof["proof"]: proof["verdict"] for proof in done.json["proofs"]}
    assert verdicts == {
        "exitbrain": "PASS",
        "executor": "PASS",
        "apply": "PASS",
        "watch": "PASS",
        "host": "FAIL",
    }


def test_one_line_for_monitoring(stack: Stack) -> None:
    done = stack.exitctl_as_root("proof", "executor", "--nagios")
    assert done.code == 0, done
    [line] = done.out.splitlines()
    words, _, data = line.partition(" | ")
    assert words == "QUANTUM OK - executor 7/7"
    assert all(
        re.fullmatch(r"[A-Za-z0-9_]+=[0-9.]+[a-zA-Z%]*(;[0-9.:]*){0,4}", d) for d in data.split()
    )
    stop_the_executor(stack)
    done = stack.exitctl_as_root("proof", "executor", "--nagios")
    assert done.code == 2, done
    assert done.out.startswith("QUANTUM CRITICAL - executor 4/7, failed: Service active, ")
    assert "executor_failed=3;0;0;0;7" in done.out
