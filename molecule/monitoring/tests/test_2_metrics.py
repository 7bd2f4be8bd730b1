"""From what the services write to Prometheus, its rules, Alertmanager and the receiver."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from stage import Stage, until

FILES = Path(__file__).resolve().parents[3] / "roles" / "monitoring" / "files"
# Of a host that trades and was not in any trouble: they may be empty.
QUIET = ("quantum_exit_duration", "quantum_permit_refusals", "quantum_unprotected_total")


@pytest.mark.parametrize("unit", ["quantum-metrics", "quantum-alerts", "quantum-alerts-canary"])
def test_exposure_is_low(stage: Stage, unit: str) -> None:
    verdict = stage.run(f"systemd-analyze security {unit} --no-pager | tail -1")
    found = re.search(r"\.service: ([0-9.]+)", verdict)
    assert found is not None, verdict
    assert float(found[1]) <= 1.5


def test_nothing_of_it_listens_to_others(stage: Stage) -> None:
    listening = stage.run("ss --listening --tcp --numeric --no-header")
    for port in (9090, 9093, 9464):
        lines = [line for line in listening.splitlines() if f":{port} " in line]
        assert lines
        assert all(f"127.0.0.1:{port} " in line for line in lines), lines


def test_rules_do_as_their_tests_say(stage: Stage) -> None:
    stage.run("mkdir -p /run/rules")
    for name in ("quantum.rules.yml", "quantum.rules.test.yml"):
        text = (FILES / name).read_text(encoding="utf-8")
        stage.run(f"printf %s {shlex.quote(text)} >/run/rules/{name}")
    tested = stage.host.run("cd /run/rules && promtool test rules quantum.rules.test.yml")
    assert tested.rc == 0, tested.stdout + tested.stderr


def test_every_rule_has_a_test() -> None:
    rules = re.findall(r"- alert: (\w+)", (FILES / "quantum.rules.yml").read_text())
    tested = (FILES / "quantum.rules.test.yml").read_text()
    assert rules
    assert [rule for rule in rules if f"alertname: {rule}\n" not in tested] == []


def test_prometheus_sees_the_host_as_it_is(stage: Stage) -> None:
    until("a scrape", lambda: stage.query("quantum_redis_up == 1"))
    ready = {one["metric"]["service"]: one["value"][1] for one in stage.query("quantum_ready")}
    assert ready == dict.fromkeys(ready, "1")
    assert set(ready) >= {"exitbrain", "apply_layer", "position_state", "intent_executor"}
    assert stage.query('quantum_mode{mode="LIVE"} == 1')
    assert stage.query("max(quantum_kill_switch_active) == 0")
    [release] = stage.query("quantum_release_info")
    current = stage.run("basename $(readlink /opt/quantum/current)")
    assert release["metric"]["version"] == current


def test_a_switch_that_is_thrown_gets_to_the_receiver_and_so_does_its_release(
    stage: Stage,
) -> None:
    stage.run("exitctl kill --reason molecule")
    try:
        until("Alertmanager tells", lambda: "QuantumKillSwitchOn" in stage.fired("firing"))
        until("the courier too", lambda: stage.alerts("KILL_SWITCH_ENGAGED"))
    finally:
        stage.run("exitctl resume --reason molecule")
    until("its release", lambda: stage.alerts("KILL_SWITCH_RELEASED"))
    until("Prometheus sees it", lambda: stage.query("max(quantum_kill_switch_active) == 0"))


def test_a_proof_leaves_its_verdict(stage: Stage) -> None:
    said = stage.host.run("exitctl proof exitbrain --json")
    code = {0: "0", 1: "1", 2: "2"}[said.rc]
    until(
        "its verdict",
        lambda: (
            [o["value"][1] for o in stage.query('quantum_proof_verdict{proof="exitbrain"}')]
            == [code]
        ),
    )


def test_every_panel_of_the_dashboard_asks_what_prometheus_knows(stage: Stage) -> None:
    text = (FILES / "quantum.dashboard.json").read_text(encoding="utf-8")
    targets = [
        target["expr"]
        for panel in json.loads(text)["panels"]
        for target in panel.get("targets", ())
    ]
    assert len(targets) > 10
    stage.run("systemctl start quantum-exit-owner-watch.service")
    until(
        "two looks of the watch", lambda: stage.query("increase(quantum_watch_denials_total[1h])")
    )
    empty = [
        expression
        for expression in targets
        if not stage.query(expression.replace("$__rate_interval", "1m"))
        and not any(name in expression for name in QUIET)
    ]
    assert empty == []
