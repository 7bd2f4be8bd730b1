"""Drift: what somebody did to a deployed host is found, named, and left as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stage import NOWHERE, Ended, Stage

UNIT_FILE = "/etc/systemd/system/quantum-apply-layer.service"
ENV_FILE = "/etc/quantum/proof.env"
KEPT = "/etc/quantum/before-deployment.json"
STOPPED = "quantum-position-state-brain.service"


def look(stage: Stage, path: Path) -> tuple[Ended, dict[str, Any]]:
    done = stage.playbook("drift.yml", "--check", "-e", f"drift_json={path}")
    assert path.exists(), done.text[-3000:]
    return done, json.loads(path.read_text(encoding="utf-8"))


def test_without_check_nothing_is_done(loaded: Stage) -> None:
    done = loaded.playbook("drift.yml")
    assert done.code == 2
    assert "add --check" in done.text
    assert "TASK" not in done.text


def test_a_host_that_cannot_be_reached_is_not_called_clean(loaded: Stage, tmp_path: Path) -> None:
    report = tmp_path / "drift.json"
    done = loaded.playbook("drift.yml", "--check", *NOWHERE, "-e", f"drift_json={report}")
    assert done.code == 2, done.text[-2000:]
    assert json.loads(report.read_text(encoding="utf-8"))["exit_code"] == 2


def test_found_named_left_and_gone_when_mended(loaded: Stage, tmp_path: Path) -> None:
    deployed = loaded.run(f"sha256sum {UNIT_FILE} /etc/quantum/*").text
    loaded.run(
        f"cp -a {UNIT_FILE} /run/unit.saved;"
        f" sed -i 's/^WatchdogSec=.*/WatchdogSec=99/' {UNIT_FILE};"
        f" chmod 0644 {ENV_FILE}; systemctl stop {STOPPED};"
        " systemd-run --unit=quantum-broken --wait --quiet /bin/false",
        check=False,
    )
    before = loaded.run(f"sha256sum {UNIT_FILE} /etc/quantum/*").text
    assert before != deployed
    try:
        done, report = look(loaded, tmp_path / "found.json")
        assert done.code == 1, done.text[-3000:]
        assert report["exit_code"] == 1
        found = json.dumps(report["hosts"]["kill"]["drift"])
        for name in ("quantum-apply-layer", ENV_FILE, STOPPED, "quantum-broken"):
            assert name.removesuffix(".service") in found, f"{name} was not found in {found}"
        # It only looked.
        assert loaded.run(f"sha256sum {UNIT_FILE} /etc/quantum/*").text == before
        assert loaded.run(f"stat --format=%a {ENV_FILE}").text.strip() == "644"
        assert loaded.run(f"systemctl is-active {STOPPED}", check=False).text.strip() == "inactive"
        for secret in loaded.secrets():
            assert secret not in done.text
            assert secret not in json.dumps(report)
    finally:
        loaded.run(
            f"mv /run/unit.saved {UNIT_FILE}; chmod 0600 {ENV_FILE}; systemctl daemon-reload;"
            f" systemctl start {STOPPED}; systemctl reset-failed quantum-broken;"
            # What a deployment keeps while it runs, or was cut off, is no drift.
            f" install -m 0600 /dev/null {KEPT}"
        )
    done, report = look(loaded, tmp_path / "mended.json")
    assert (done.code, report["hosts"]["kill"]["drift"]) == (0, []), done.text[-3000:]
    loaded.run(f"rm {KEPT}")
