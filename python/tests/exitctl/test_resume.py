"""`exitctl resume`: only while positions are known, both places, and never silently."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from quantum_exit import keys
from quantum_exit.exitctl import kill_file, resume
from quantum_exit.exitctl.context import CommandError
from quantum_exit.exitctl.control import Act

from ..stack import LIVE
from .shell import Operator


@pytest.fixture
def killed(operator: Operator) -> Operator:
    """The switch is on in both places; positions are known and every service is well."""
    operator.switch(active=True)
    operator.kill_file.write_text("on \n")
    operator.redis.set(keys.BRAIN_ENV_KILL, "false")
    for service in ("exitbrain", "apply_layer", "position_state", "intent_executor"):
        operator.beat(service, mode="LIVE")
    operator.positions_read()
    return operator


def is_off(operator: Operator) -> bool:
    return operator.file_word == "off" and not operator.switched_on


def test_it_releases_both_places_and_names_them(killed: Operator) -> None:
    done = killed.run("resume", "--reason", "the drill is over")
    assert done.code == 0, done
    assert is_off(killed)
    assert "KILL SWITCH RELEASED: redis, file" in done.out
    assert json.loads(killed.redis.get(keys.KILL_SWITCH) or "")["reason"] == "the drill is over"
    newest = json.loads(killed.redis.lindex(keys.EXITBRAIN_CONTROL, 0) or "")
    assert newest["event"] == "KILL_SWITCH_RELEASED"
    [(_, alert)] = killed.redis.xrange(keys.ALERTS)
    assert alert["alert_type"] == "KILL_SWITCH_RELEASED"


def test_a_reason_is_required(killed: Operator) -> None:
    assert killed.run("resume").code == 3
    assert killed.run("resume", "--reason", "  ").code == 3
    assert not is_off(killed)


def never_read(operator: Operator) -> None:
    operator.redis.delete(keys.SNAPSHOT_STATE)


def read_long_ago(operator: Operator) -> None:
    operator.positions_read(age_s=30)


def read_in_the_future(operator: Operator) -> None:
    """The clock was set back since, and nobody has read them again."""
    operator.positions_read(age_s=-3600)


def read_at_no_time(operator: Operator) -> None:
    operator.redis.hset(keys.SNAPSHOT_STATE, "ts_epoch", "nan")


def not_ready(operator: Operator) -> None:
    operator.beat("position_state", ready="false", status="exchange: HTTP 503")


def silent(operator: Operator) -> None:
    operator.beat("position_state", ts_epoch=1)


def gone(operator: Operator) -> None:
    operator.redis.delete(keys.heartbeat("position_state"))


@pytest.mark.parametrize(
    "fault",
    [never_read, read_long_ago, read_in_the_future, read_at_no_time, not_ready, silent, gone],
)
def test_it_refuses_while_positions_are_not_known(
    killed: Operator, fault: Callable[[Operator], None]
) -> None:
    fault(killed)
    done = killed.run("resume", "--reason", "hoping")
    assert done.code == 2, done
    assert "not known" in done.err
    assert killed.file_word == "on"
    assert killed.switched_on


def test_a_switch_lost_with_redis_is_released_by_it_too(killed: Operator) -> None:
    killed.redis.delete(keys.KILL_SWITCH)
    done = killed.run("resume", "--reason", "after the flush")
    assert done.code == 0, done
    assert is_off(killed)


def test_the_brains_environment_is_named_as_what_it_cannot_release(killed: Operator) -> None:
    killed.redis.set(keys.BRAIN_ENV_KILL, "true")
    done = killed.run("resume", "--reason", "test")
    assert done.code == 1, done
    assert is_off(killed)
    assert "STILL ON" in done.out
    assert "EXIT_EXECUTOR_KILL_SWITCH=false in /etc/quantum/exitbrain-v35.env" in done.out


def test_it_names_the_leave_that_holds_again(killed: Operator) -> None:
    killed.redis.set(keys.MANUAL_LANE_ENABLED, "1", ex=60)
    killed.redis.set(keys.delegation("helper"), "{}", ex=60)
    done = killed.run("resume", "--reason", "test", "--json")
    assert any("manual lane" in text for text in done.json["enables"])
    assert any("quantum:delegation:helper" in text for text in done.json["enables"])


@pytest.mark.parametrize(
    ("executor_mode", "told"),
    [("LIVE", "goes on: LIVE"), ("SHADOW", "goes on: SHADOW (EXIT_EXECUTOR_MODE is not LIVE)")],
)
def test_it_names_the_mode_below_the_switch(
    killed: Operator, executor_mode: str, told: str
) -> None:
    environ = {**LIVE, "EXIT_EXECUTOR_MODE": executor_mode}
    brain = subprocess.Popen(["sleep", "60"], env=environ)
    try:
        killed.beat("exitbrain", mode="KILLED", status="KILLED", pid=brain.pid)
        done = killed.run("resume", "--reason", "the drill is over")
        assert told in done.out, done
        assert "KILLED" not in done.out
    finally:
        brain.kill()
        brain.wait()


def test_redis_down_releases_nothing(killed: Operator) -> None:
    done = killed.run("resume", "--reason", "test", REDIS_URL="redis://127.0.0.1:1/0")
    assert done.code == 3, done
    assert killed.file_word == "on"


def test_a_file_that_cannot_be_written_releases_nothing(killed: Operator, tmp_path: Path) -> None:
    file = tmp_path / "nowhere" / "kill_switch"
    done = killed.run("resume", "--reason", "test", QUANTUM_KILL_FILE=str(file))
    assert done.code == 2, done
    assert killed.switched_on


def test_a_redis_that_refuses_puts_the_file_back_on(killed: Operator) -> None:
    killed.redis.config_set("maxmemory", "1")
    try:
        done = killed.run("resume", "--reason", "test")
    finally:
        killed.redis.config_set("maxmemory", "0")
    assert done.code == 3, done
    assert killed.file_word == "on"
    assert killed.switched_on


def test_resume_and_kill_in_turn(killed: Operator) -> None:
    for _ in range(3):
        killed.positions_read()
        killed.beat("position_state")
        assert killed.run("resume", "--reason", "turn").code == 0
        assert is_off(killed)
        assert killed.run("kill").code == 0
        assert killed.switched_on


def test_a_kill_between_its_two_writes_holds(
    killed: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one interleaving in which each write of the kill would be undone by one of ours."""
    environ = {"QUANTUM_KILL_FILE": str(killed.kill_file)}
    written = kill_file.write

    def write_and_be_killed(path: str, *, active: bool) -> None:
        written(path, active=active)
        if not active:  # the kill has written the file before, and Redis now
            killed.switch(active=True)

    monkeypatch.setattr(kill_file, "write", write_and_be_killed)
    act = Act("somebody", "too early", time.time())
    with pytest.raises(CommandError, match="stays on"):
        resume.release(killed.redis, environ, act)
    assert killed.switched_on
    assert killed.file_word == "on"
