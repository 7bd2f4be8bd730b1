"""What the playbook takes, refuses and tells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stage import KILL_FILE, NOWHERE, Stage


def places(stage: Stage) -> tuple[str, bool]:
    """The file's word, and whether the runtime switch is on."""
    document = json.loads(stage.bus().get("quantum:kill_switch"))
    return stage.run(f"cat {KILL_FILE}").text.strip(), document["active"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "state is missing"),
        ({"reason": "why"}, "state is missing"),
        ({"state": "maybe", "reason": "why"}, "neither on nor off"),
        ({"state": "", "reason": "why"}, "neither on nor off"),
        ({"state": "on"}, "reason is missing"),
        ({"state": "on", "reason": "  "}, "reason is missing"),
    ],
)
def test_refused_before_a_host_is_touched(loaded: Stage, asked: dict[str, str], said: str) -> None:
    done = loaded.playbook("kill_switch.yml", "-e", json.dumps(asked), *NOWHERE)
    assert done.code == 2, done.text  # 4 would be: it tried to reach the host
    assert said in done.text
    assert "unreachable=0" in done.text


def test_check_tells_what_is_on_where_and_changes_nothing(trading: Stage) -> None:
    would = trading.switch("on", "--check")
    assert (would.code, "changed=1" in would.text) == (0, True), would.text
    assert "redis: off" in would.text
    assert places(trading) == ("off", False)

    trading.engage()
    would = trading.switch("off", "--check")
    assert (would.code, "changed=1" in would.text) == (0, True), would.text
    assert "redis: ON" in would.text
    assert "changed=0" in trading.switch("on", "--check").text
    assert places(trading) == ("on", True)


def test_changed_only_when_it_changed(trading: Stage) -> None:
    assert "changed=0" in trading.switch("off").text
    assert "changed=1" in trading.switch("on").text
    again = trading.switch("on")
    assert (again.code, "changed=0" in again.text) == (0, True), again.text
    assert "changed=1" in trading.switch("off").text


def test_a_reason_arrives_as_it_was_written(trading: Stage) -> None:
    reason = 'it\'s "$(touch /run/oh)" `touch /run/oh` {{ no_template }} \\ ; touch /run/oh & é'
    done = trading.switch("on", reason=reason)
    assert done.code == 0, done.text
    assert json.loads(trading.bus().get("quantum:kill_switch"))["reason"] == reason
    assert trading.run("test -e /run/oh", check=False).code == 1


def test_a_host_that_is_gone_stops_no_other(trading: Stage, tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.yml"
    gone = "{ansible_host: 127.0.0.1, ansible_port: 1}"
    fleet.write_text(f"all: {{children: {{quantum: {{hosts: {{aaa-gone: {gone}}}}}}}}}\n")
    done = trading.switch("on", "-i", str(fleet))
    assert done.code != 0
    assert "aaa-gone" in done.text
    assert "unreachable=1" in done.text
    assert places(trading) == ("on", True)
