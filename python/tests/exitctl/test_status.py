"""`exitctl status` and `audit` on an empty host, a broken one, and the whole stack."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from pathlib import Path

from quantum_exit import keys
from quantum_exit.exitctl.status import last_proof

from ..conftest import wait_for
from ..stack import Stack, run_module
from .shell import Operator


def test_an_empty_host_says_what_is_missing(operator: Operator) -> None:
    done = operator.run("status")
    assert done.code == 0, done
    assert "no heartbeat" in done.out
    assert "never read" in done.out
    assert operator.run("audit").code == 0


def test_redis_down_still_shows_the_file(operator: Operator) -> None:
    operator.kill_file.write_text("on\n")
    done = operator.run("status", REDIS_URL="redis://127.0.0.1:1/0")
    assert done.code == 3, done
    assert "DOES NOT ANSWER" in done.out
    assert "file ON" in done.out


def test_the_running_stack_at_one_glance(stack: Stack) -> None:
    sent = stack.exitctl(
        *("plan", "send", "--symbol", "BTCUSDT", "--side", "BUY", "--qty", "0.01"),
        *("--source", "intent_bridge"),
    )
    assert sent.code == 0, sent
    assert "EXECUTED: 0.01 filled" in sent.out
    wait_for(lambda: stack.beat("exitbrain").get("positions") == "1", "the brain sees it")
    wait_for(lambda: stack.redis.hget(keys.snapshot("BTCUSDT"), "side") == "LONG", "a snapshot")
    status = stack.exitctl("status", "--json").json
    assert status["mode"]["state"] == "LIVE"
    assert status["kill_switch"]["on"] is False
    assert [name for name, service in status["services"].items() if not service["ready"]] == []
    [position] = status["positions"]["rows"]
    assert position["symbol"] == "BTCUSDT"
    assert Decimal(position["guard"]["stop"]) == Decimal(position["entry_price"]) * Decimal("0.98")
    assert status["open_plans"] == []
    text = stack.exitctl("status").out
    assert "MODE      LIVE" in text
    assert "SWITCH    off" in text
    assert "stop 58800 (STOP_LOSS)" in text
    assert max(len(line) for line in text.splitlines()) <= 160


def test_the_switch_is_the_first_thing_to_see(stack: Stack) -> None:
    stack.exitctl("kill", "--reason", "look")
    text = stack.exitctl("status").out
    assert "KILL SWITCH ON" in "\n".join(text.splitlines()[:2])


def test_open_plans_and_holds_are_shown(operator: Operator) -> None:
    operator.grant("a")
    operator.redis.hset(keys.EXECUTOR_OPEN, "odd", "[]")
    operator.redis.hset(keys.reconcile_hold("BTCUSDT"), "reason", "qty_mismatch")
    done = operator.run("status")
    assert "2 plan(s) without a result yet" in done.out
    assert "plan-a" in done.out
    assert "odd: UNREADABLE" in done.out
    assert "HELD      BTCUSDT" in done.out


def test_the_last_verdict_of_the_timers_log(tmp_path: Path) -> None:
    log = tmp_path / "proof.log"
    assert last_proof(str(log)) is None
    log.write_text("TEST 1: x\n")
    assert last_proof(str(log)) is None
    log.write_text("x" * 20_000 + "\nFINAL VERDICT: ❌ FAIL (1/6)\nFINAL VERDICT: ✅ PASS (6/6)\n")
    proof = last_proof(str(log))
    assert proof is not None
    assert proof["verdict"] == "✅ PASS (6/6)"


def test_a_plan_of_the_owner_needs_its_key(operator: Operator) -> None:
    plan = ("plan", "send", "--symbol", "BTCUSDT", "--side", "SELL", "--qty", "0.01")
    done = operator.run(*plan, "--reduce-only", QUANTUM_SIGNING_KEY="short")
    assert done.code == 3, done
    assert "64 hex digits" in done.err
    assert operator.redis.xlen(keys.APPLY_PLAN) == 0
    assert operator.run(*plan[:-1], "1e3", "--source", "x").code == 3


def test_an_owners_signed_plan_closes_and_an_unsigned_one_does_not(stack: Stack) -> None:
    stack.exchange.set_price("BTCUSDT", "60000")
    order = ("--symbol", "BTCUSDT", "--qty", "0.01")
    stack.exitctl("plan", "send", *order, "--side", "BUY", "--source", "intent_bridge")
    close = ("plan", "send", *order, "--side", "SELL", "--reduce-only")
    wait_for(lambda: stack.redis.hget(keys.snapshot("BTCUSDT"), "side") == "LONG", "a snapshot")
    denied = stack.exitctl(*close, "--unsigned")
    assert denied.code == 2, denied
    assert "SOURCE_UNVERIFIED" in denied.out
    with_key = {**stack.operator, "QUANTUM_SIGNING_KEY": stack.seed}
    signed = run_module("quantum_exit.exitctl", close, with_key)
    assert signed.code == 0, signed
    assert stack.exchange.position("BTCUSDT") == 0
    assert stack.seed not in signed.out + signed.err


def test_reconcile_takes_the_exchange_for_right(stack: Stack) -> None:
    order = ("--symbol", "BTCUSDT", "--side", "BUY", "--qty", "0.01", "--source", "intent_bridge")
    assert stack.exitctl("plan", "send", *order).code == 0
    stack.exchange.set_position("BTCUSDT", "0.02")
    wait_for(lambda: stack.redis.exists(keys.reconcile_hold("BTCUSDT")), "P3.3 holds it", 20)
    done = stack.exitctl("reconcile", "btcusdt", "--reason", "closed by hand")
    assert done.code == 0, done
    assert not stack.redis.exists(keys.reconcile_hold("BTCUSDT"))


def test_reconcile_leaves_no_request_behind_when_nobody_takes_it(operator: Operator) -> None:
    operator.redis.hset(keys.reconcile_hold("BTCUSDT"), "reason", "qty_mismatch")
    began = time.monotonic()
    done = operator.run("reconcile", "BTCUSDT", "--wait", "1s", "--json")
    assert done.code == 2, done
    assert time.monotonic() - began < 10
    assert not operator.redis.exists(keys.reconcile_request("BTCUSDT"))
    [text] = operator.redis.lrange(keys.EXITBRAIN_CONTROL, 0, 0)
    assert json.loads(text)["event"] == "RECONCILE_REQUESTED"


def test_settings_come_from_the_operators_file(operator: Operator, tmp_path: Path) -> None:
    url = operator.environ["REDIS_URL"]
    file = tmp_path / "operator.env"
    file.write_text(f'REDIS_URL="{url}"\n')
    assert operator.run("status", "--env-file", str(file), REDIS_URL=None).code == 0
    file.write_text("REDIS_URL\n")
    done = operator.run("status", "--env-file", str(file), REDIS_URL=None)
    assert done.code == 3
    assert "line 1" in done.err
    assert operator.run("kill", "--env-file", str(file), REDIS_URL=None).code == 0
    assert operator.file_word == "on"
    missing = operator.run("status", "--env-file", str(tmp_path / "none"), REDIS_URL=None)
    assert missing.code == 3
    assert "REDIS_URL is missing" in missing.err


def test_the_shadow_report_shows_what_would_have_been(operator: Operator) -> None:
    assert "0 exit(s)" in operator.run("shadow-report").out
    shadow = {
        "intent_id": "i",
        "symbol": "BTCUSDT",
        "action": "FULL_CLOSE",
        "side": "LONG",
        "quantity": "0.5",
        "mark_price": "60000",
        "reason": "STOP_LOSS",
        "source": "exitbrain_v3_5",
        "ts_epoch": f"{time.time():.6f}",
        "mode": "SHADOW",
    }
    operator.redis.xadd(keys.EXIT_SHADOW, dict(shadow.items()))
    now = {"position_amt": "0.5", "mark_price": "59000"}
    operator.redis.hset(keys.snapshot("BTCUSDT"), mapping=dict(now.items()))
    done = operator.run("shadow-report", "--since", "1h")
    assert "STILL_OPEN" in done.out, done
    assert operator.run("shadow-report", "--json").json["total_gain"] == "-500"


def test_every_command_has_help(operator: Operator) -> None:
    names = ["status", "kill", "resume", "proof", "manual-lane", "delegate", "rearm", "reconcile"]
    for name in [*names, "audit", "plan"]:
        done = operator.run(name, "--help")
        assert done.code == 0, done
    assert operator.run("no-such-command").code == 3
    assert operator.run().code == 3


def test_a_proof_that_trips_could_not_be_run(operator: Operator) -> None:
    """A crash ends with 1, which would be read as PARTIAL."""
    operator.redis.hset("quantum:operator:proof:apply", mapping={"ts_epoch": "soon"})
    done = operator.run("proof", "apply", "--json")
    assert done.code == 3, done
    assert done.json["verdict"] == "NOT RUN"
    assert "ValueError" in done.json["error"]
    told = json.loads(operator.redis.hget(keys.PROOF_VERDICTS, "apply") or "{}")
    assert told.get("verdict") == "NOT RUN"


def test_what_others_write_reaches_no_terminal_as_a_command(operator: Operator) -> None:
    hostile = "\x1b]0;x\x07\x9b2J\u202e"
    alert = {"alert_type": f"A{hostile}\nMODE      LIVE", "severity": "INFO", "details": hostile}
    operator.redis.xadd(keys.ALERTS, alert)
    operator.redis.lpush(keys.EXITBRAIN_CONTROL, '["no act"]', '"nor this"')
    operator.beat("exitbrain", status=hostile)
    for command in ("audit", "status"):
        done = operator.run(command)
        assert done.code == 0, done
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(done.out), done
        assert not any(line.startswith("MODE      LIVE") for line in done.out.splitlines())
        assert operator.run(command, "--json").code == 0


def test_a_key_of_another_type_is_not_redis_gone(operator: Operator) -> None:
    operator.redis.rpush(keys.heartbeat("exitbrain"), "x")
    operator.redis.hset(keys.delegation("bot"), "symbol", "BTCUSDT")
    done = operator.run("status")
    assert done.code == 0, done
    assert "SWITCH    off" in done.out
    assert "DELEGATED" not in done.out
    operator.redis.rpush(keys.BRAIN_ENV_KILL, "x")
    assert "env ON" in operator.run("status").out  # no grant is given then
    operator.redis.delete(keys.BRAIN_ENV_KILL)
    operator.redis.set(keys.EXECUTOR_OPEN, "x")
    done = operator.run("status")
    assert done.code == 3, done
    assert "DOES NOT ANSWER" not in done.out
    assert "nothing trades" not in done.out
    assert "WRONGTYPE" in done.err
