"""The service role's modules, where a host is not needed to see what they decide."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from .conftest import REPOSITORY
from .role_modules import load

UTILS = REPOSITORY / "roles" / "service" / "module_utils"
BASE = REPOSITORY / "roles" / "host" / "library" / "quantum_base.py"


@pytest.fixture
def utils(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Under the names that Ansible gives them on a host."""
    found = {}
    for short in ("quantum_envfile", "quantum_oneshot", "quantum_running", "quantum_unit_files"):
        name = f"ansible.module_utils.{short}"
        found[short] = load(name, UTILS / f"{short}.py")
        monkeypatch.setitem(sys.modules, name, found[short])
    return found


@pytest.fixture
def oneshot(utils: dict[str, Any]) -> ModuleType:
    module: ModuleType = utils["quantum_oneshot"]
    return module


def shown(started_epoch: float, result: str = "success") -> str:
    """As `systemctl show --timestamp=us+utc` prints it."""
    at = datetime.fromtimestamp(started_epoch, UTC)
    return f"Result={result}\nExecMainStartTimestamp=Sam {at:%Y-%m-%d %H:%M:%S.%f} UTC\n"


@pytest.mark.parametrize(
    ("after_s", "is_due"), [(-86400, True), (-0.3, True), (0.0, True), (0.3, False), (60, False)]
)
def test_a_oneshot_runs_again_for_what_is_younger_than_its_last_run(
    oneshot: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    after_s: float,
    is_due: bool,
) -> None:
    """Also within one second: a deployment writes a file and runs its reader at once."""
    file = tmp_path / "policy.yml"
    file.write_text("symbols: []\n")
    started_epoch = file.stat().st_mtime + after_s
    monkeypatch.setattr(oneshot, "run", lambda *_: (0, shown(started_epoch)))
    assert bool(oneshot.why_run("reader.service", [str(file)])) is is_due


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("Result=success\nExecMainStartTimestamp=\n", "it has not run since the boot"),
        ("", "it has not run since the boot"),
        (shown(2_000_000_000, "exit-code"), "its last run ended with exit-code"),
    ],
)
def test_a_oneshot_that_did_not_run_well_runs(
    oneshot: ModuleType, monkeypatch: pytest.MonkeyPatch, said: str, why: str
) -> None:
    monkeypatch.setattr(oneshot, "run", lambda *_: (0, said))
    assert oneshot.why_run("reader.service", []) == why


def test_what_it_reads_and_is_not_there_is_a_reason(
    oneshot: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oneshot, "run", lambda *_: (0, shown(2_000_000_000)))
    assert "No such file" in oneshot.why_run("reader.service", [str(tmp_path / "gone")])


@pytest.mark.parametrize(
    ("before_s", "text", "why"),
    [
        (60, "as it was", ""),
        # Written by a run that died before it came to the restart.
        (-60, "as it was", "is newer than its last run"),
        (60, "as it shall be", "changes"),
    ],
)
def test_what_reads_a_file_when_it_starts_is_restarted_once_it_is_newer(
    utils: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before_s: float,
    text: str,
    why: str,
) -> None:
    base: Any = load("quantum_base", BASE)
    file = tmp_path / "journald.conf"
    file.write_text("as it was")
    file.chmod(0o644)
    monkeypatch.setattr(base, "is_as_wanted", lambda *_: True)
    started_epoch = file.stat().st_mtime + before_s
    monkeypatch.setattr(utils["quantum_oneshot"], "run", lambda *_: (0, shown(started_epoch)))
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(base, "run", lambda *words: ran.append(words))
    monkeypatch.setattr(base, "replace", lambda *_: None)
    asked = {"users": [], "folders": {}, "written_by": {}, "mode": "0644", "checks": {}}
    restarts = {"reader.service": [str(file)]}
    found = base.Base({**asked, "files": {str(file): text}, "restarts": restarts})
    assert why in str(found.diff())
    assert ("reader.service" in found.changes()) is bool(why)
    found.apply()
    assert ran == ([("systemctl", "restart", "reader.service")] if why else [])


@pytest.fixture
def deployed(tmp_path: Path, utils: dict[str, Any]) -> Iterator[tuple[dict[str, str], Path]]:
    """What systemd would say of a service that runs, and the root of its release."""
    program = tmp_path / "releases" / "1.0" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.symlink_to("/bin/sleep")
    (tmp_path / "current").symlink_to("releases/1.0")
    (tmp_path / "a.env").write_text("EXIT_MODE=LEGACY\nREDIS_URL=one\n")
    (tmp_path / "b.env").write_text("REDIS_URL=two\n")
    started_with = {"EXIT_MODE": "LEGACY", "REDIS_URL": "two", "QUANTUM_UNIT_FINGERPRINT": "abc"}
    with subprocess.Popen([program, "60"], env=started_with) as process:
        files = "\n".join(f"{tmp_path}/{name}.env (ignore_errors=no)" for name in "ab")
        pid = str(process.pid)
        yield {"ActiveState": "active", "MainPID": pid, "EnvironmentFiles": files}, tmp_path
        process.kill()


UNIT = "[Service]\nEnvironment=QUANTUM_UNIT_FINGERPRINT={}\n"


@pytest.mark.parametrize(
    ("fault", "unit", "reasons"),
    [
        (None, "abc", []),
        (("a.env", "EXIT_MODE=EXIT_BRAIN_V3\n"), "abc", ["EXIT_MODE has changed"]),
        (("b.env", ""), "abc", ["REDIS_URL has changed"]),
        (("a.env", ""), "abc", ["EXIT_MODE is gone"]),
        (None, "def", ["the unit file has changed since it was started"]),
    ],
)
def test_a_process_that_differs_from_the_disk_is_told_by_names(
    utils: dict[str, Any],
    deployed: tuple[dict[str, str], Path],
    fault: tuple[str, str] | None,
    unit: str,
    reasons: list[str],
) -> None:
    state, root = deployed
    if fault:
        (root / fault[0]).write_text(fault[1])
    service = {"name": "x.service", "env_file": "/nonexistent", "root": str(root)}
    assert utils["quantum_running"].why_restart(service, state, UNIT.format(unit)) == reasons


def test_a_process_of_another_release_is_told(
    utils: dict[str, Any], deployed: tuple[dict[str, str], Path]
) -> None:
    state, root = deployed
    os.replace(root / "current", root / "previous")
    (root / "current").symlink_to("releases/2.0")
    service = {"name": "x.service", "env_file": "/nonexistent", "root": str(root)}
    (told,) = utils["quantum_running"].why_restart(service, state, UNIT.format("abc"))
    assert told == "release: 1.0 runs, 2.0 is current"


def test_a_property_that_is_told_several_times_has_several_lines(
    utils: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "EnvironmentFiles=/a (ignore_errors=no)\nEnvironmentFiles=/b (ignore_errors=no)\n"
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f"#!/bin/sh\nprintf '%s' '{said}StatusText=a=b\n'\n")
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    state = utils["quantum_running"].show("x.service")
    assert utils["quantum_running"].env_files(state, "/c") == ["/a", "/b"]
    assert utils["quantum_running"].env_files({"EnvironmentFiles": ""}, "/c") == ["/c"]
    assert state["StatusText"] == "a=b"
