"""Where drills are held; and that not knowing the positions is nothing to be content with."""

from __future__ import annotations

import json
import time

import pytest
import redis

from quantum_exit import keys
from quantum_exit.proofs import apply, executor, watch_drill
from quantum_exit.proofs.ground import P33_MAY_START_S, Ground, NoGround, find_ground
from quantum_exit.proofs.model import Check, Expect, Outcome, Verdict, judge

from ..conftest import wait_for
from ..stack import OWNER, Stack

YOUNG, OLD = 5.0, P33_MAY_START_S + 60


def beat(client: redis.Redis, service: str, up_s: float, age_s: float = 0.0) -> None:
    now = time.time()
    fields = {"ready": "false", "status": "", "pid": "1"}
    times = {"ts_epoch": str(now - age_s), "started_epoch": str(now - up_s)}
    client.hset(keys.heartbeat(service), mapping={**fields, **times})


def drills(client: redis.Redis, proof: str, monkeypatch: pytest.MonkeyPatch) -> list[Check]:
    """The checks of a proof that need a ground, among as many that pass as it has."""
    if proof == "executor":
        return [*executor.drill_checks(client, {}, Expect.LIVE), *green(4)]
    if proof == "apply":
        return [*apply.intent_checks(client, {}, OWNER), *green(4)]
    monkeypatch.setattr("quantum_exit.proofs.host.has_systemd", lambda: True)
    return [*watch_drill.drill_checks(client), *green(7)]


def green(count: int) -> list[Check]:
    return [Check(f"other-{n}", "", Outcome.PASS, ()) for n in range(count)]


@pytest.mark.parametrize(
    ("proof", "verdict"),
    [("executor", Verdict.FAIL), ("apply", Verdict.PARTIAL), ("watch", Verdict.PARTIAL)],
)
def test_positions_that_nobody_knows_are_told_by_each_and_alarm_once(
    redis_client: redis.Redis, proof: str, verdict: Verdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = drills(redis_client, proof, monkeypatch)
    [red] = [check for check in checks if not check.passed]
    assert judge(checks) is verdict
    assert keys.SNAPSHOT_STATE in red.evidence[0]
    assert "quantum-position-state-brain.service" in red.evidence[0]


def test_in_the_first_minutes_they_need_not_be_known(redis_client: redis.Redis) -> None:
    for service in ("position_state", "intent_executor"):
        beat(redis_client, service, YOUNG)
    found = find_ground(redis_client)
    assert isinstance(found, NoGround)
    assert found.outcome is Outcome.INFO


@pytest.mark.parametrize(
    ("p33_up_s", "p33_age_s", "others_up_s"),
    [(OLD, 0.0, YOUNG), (YOUNG, 0.0, OLD), (YOUNG, 30.0, YOUNG)],
    ids=["it had its time", "it starts again and again", "it stopped"],
)
def test_after_that_they_must_be(
    redis_client: redis.Redis, p33_up_s: float, p33_age_s: float, others_up_s: float
) -> None:
    beat(redis_client, "position_state", p33_up_s, p33_age_s)
    beat(redis_client, "intent_executor", others_up_s)
    found = find_ground(redis_client)
    assert isinstance(found, NoGround)
    assert found.outcome is Outcome.FAIL


def test_drills_are_held_also_when_all_of_the_policy_is_held(redis_client: redis.Redis) -> None:
    """A bot of one symbol would never see one while it holds a position."""
    symbols = json.dumps(["BTCUSDT"])
    redis_client.hset(keys.POLICY_CURRENT, "universe_symbols", symbols)
    redis_client.hset(keys.SNAPSHOT_STATE, mapping={"symbols": symbols, "ts_epoch": "1"})
    found = find_ground(redis_client)
    assert isinstance(found, Ground)
    assert found.flat == "ETHUSDT"


def test_and_pass_there(stack: Stack) -> None:
    stack.publish_policy(["BTCUSDT"])
    stack.exchange.set_position("BTCUSDT", "0.01")
    snapshot = keys.snapshot("BTCUSDT")
    wait_for(lambda: stack.redis.hget(snapshot, "position_amt") == "0.01", "it is seen")
    for name in ("executor", "apply"):
        done = stack.exitctl_as_root("proof", name, "--json")
        assert {test["outcome"] for test in done.json["tests"]} == {"PASS"}, done
