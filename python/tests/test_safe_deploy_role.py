"""When a deployment counts as worse than what was there before, and when it changes the mode."""

import base64
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from quantum_exit import at_work

from .role_modules import load

ROLE = Path(__file__).resolve().parents[2] / "roles" / "safe_deploy"


@pytest.fixture
def exitctl(monkeypatch: pytest.MonkeyPatch) -> Any:
    name = "ansible.module_utils.quantum_exitctl"
    module = load(name, ROLE / "module_utils" / "quantum_exitctl.py")
    monkeypatch.setitem(sys.modules, name, module)
    return module


@pytest.fixture
def kept_point(monkeypatch: pytest.MonkeyPatch) -> Any:
    for short in (
        *("quantum_envfile", "quantum_private_files", "quantum_running", "quantum_at_work"),
        "quantum_kept_point",
    ):
        name = f"ansible.module_utils.{short}"
        path = ROLE / "module_utils" / f"{short}.py"
        monkeypatch.setitem(sys.modules, name, load(name, path))
    return sys.modules[name]


@pytest.fixture
def proof(exitctl: Any, kept_point: Any) -> Any:
    return load("quantum_proof", ROLE / "library" / "quantum_proof.py")


@pytest.fixture
def safe_point(
    exitctl: Any, kept_point: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Any:
    """With a folder of secrets of its own, on a host with nothing else."""
    module = load("quantum_safe_point", ROLE / "library" / "quantum_safe_point.py")
    module.SECRETS = tmp_path
    monkeypatch.setattr(module, "UNIT_DIRECTORY", tmp_path / "units")
    monkeypatch.setattr(module, "REDIS", ())
    monkeypatch.setattr(module, "LINKS", (tmp_path / "current",))
    return module


def status(mode: str, *, on: bool = False, **more: Any) -> dict[str, Any]:
    return {"mode": {"state": mode}, "kill_switch": {"on": on, "places": []}, **more}


@pytest.mark.parametrize(
    ("document", "state"),
    [
        (status("LIVE"), "live"),
        (status("SHADOW"), "shadow"),
        (status("UNKNOWN"), "unknown"),
        (status("LIVE", on=True), "killed"),
        # Everything blocks without Redis, but nobody has killed it.
        (status("LIVE", on=True, redis_error="gone"), "unknown"),
    ],
)
def test_state(exitctl: Any, document: dict[str, Any], state: str) -> None:
    assert exitctl.state_of(document) == state


@pytest.mark.parametrize(
    ("before", "after", "is_worse"),
    [
        ({"exitbrain": 0, "executor": 0}, {"exitbrain": 0, "executor": 0}, False),
        ({"exitbrain": 0, "executor": 0}, {"exitbrain": 1, "executor": 0}, True),
        ({"exitbrain": 1, "executor": 0}, {"exitbrain": 1, "executor": 0}, False),
        ({"exitbrain": 0, "executor": 0}, {"exitbrain": 0, "executor": 2}, True),
        ({"exitbrain": 0, "executor": 2}, {"exitbrain": 0, "executor": 2}, False),
        ({"exitbrain": 2, "executor": 2}, {"exitbrain": 2, "executor": 2}, True),
        ({}, {"exitbrain": 1, "executor": 1}, False),
        ({}, {"exitbrain": 3, "executor": 0}, True),
    ],
)
def test_worse(exitctl: Any, before: dict[str, int], after: dict[str, int], is_worse: bool) -> None:
    assert bool(exitctl.worse(before, after)) is is_worse


@pytest.mark.parametrize(
    ("before", "asked", "configured", "killed_meanwhile", "expected"),
    [
        ("live", "", "live", False, "live"),
        ("live", "", "shadow", False, "live"),
        ("live", "shadow", "shadow", False, "shadow"),
        ("none", "", "shadow", False, "shadow"),
        ("unknown", "", "live", False, "live"),
        ("killed", "live", "live", False, "killed"),
        ("live", "", "live", True, "killed"),
    ],
)
def test_expected(
    proof: Any,
    before: str,
    asked: str,
    configured: str,
    killed_meanwhile: bool,
    expected: str,
) -> None:
    assert proof.expected(before, asked, configured, killed_meanwhile) == expected


@pytest.mark.parametrize(
    ("before", "asked", "configured", "refused"),
    [
        ("live", "", "live", False),
        ("live", "", "shadow", True),
        ("shadow", "", "live", True),
        ("shadow", "live", "live", False),
        ("shadow", "live", "shadow", True),
        ("unknown", "", "live", False),
        ("none", "", "live", False),
    ],
)
def test_a_change_of_mode_needs_a_word(
    proof: Any, before: str, asked: str, configured: str, refused: bool
) -> None:
    assert bool(proof.changed_mode(before, asked, configured, "")) is refused


PASSWORDS = "REDIS_PASSWORD_OPERATOR=a\nREDIS_PASSWORD_BRIDGE=b\n"


@pytest.mark.parametrize(
    ("file", "text", "is_same"),
    [
        ("redis.env", PASSWORDS, True),
        ("redis.env", "REDIS_PASSWORD_OPERATOR=a\n", True),
        ("redis.env", f"{PASSWORDS}REDIS_PASSWORD_ANOTHER=c\n", True),
        ("redis.env", "REDIS_PASSWORD_OPERATOR=changed\n", False),
        ("testnet.env", "BINANCE_TESTNET_API_KEY=changed\n", False),
        ("testnet.env", "BINANCE_TESTNET_API_KEY=k\nUSE_BINANCE_TESTNET=true\n", False),
        ("testnet.env", "", False),
    ],
)
def test_credentials_are_the_same_unless_somebody_has_changed_one(
    safe_point: Any, tmp_path: Path, file: str, text: str, is_same: bool
) -> None:
    (tmp_path / "redis.env").write_text(PASSWORDS)
    (tmp_path / "testnet.env").write_text("BINANCE_TESTNET_API_KEY=k\n")
    before = safe_point.sources()
    (tmp_path / file).write_text(text)
    assert safe_point.are_the_same(before, safe_point.sources()) is is_same


def test_going_back_brings_a_dropped_password_back_and_leaves_a_rotated_one(
    safe_point: Any, tmp_path: Path
) -> None:
    file = tmp_path / "redis.env"
    file.write_text(PASSWORDS)
    before = safe_point.variables(file)
    file.write_text("REDIS_PASSWORD_OPERATOR=rotated\n")
    assert safe_point.restore_passwords(before) == [file]
    assert safe_point.variables(file) == {
        "REDIS_PASSWORD_OPERATOR": "rotated",
        "REDIS_PASSWORD_BRIDGE": "b",
    }
    assert file.stat().st_mode & 0o777 == 0o600
    assert safe_point.restore_passwords(before) == []


@pytest.mark.parametrize("name", ["exitbrain-v35.env", "intent-executor.env"])
@pytest.mark.parametrize(
    "kept",
    [
        "A=1\nEXIT_EXECUTOR_KILL_SWITCH=false\nB=2\n",
        "A=1\n  EXIT_EXECUTOR_KILL_SWITCH=false\nB=2",
        "A=1\nEXIT_EXECUTOR_KILL_SWITCH =false\n",
        "A=1\nB=2",
    ],
    ids=["as it is derived", "indented by hand", "with a blank by hand", "left out"],
)
def test_going_back_keeps_a_kill_switch_that_was_engaged_meanwhile(
    safe_point: Any, tmp_path: Path, name: str, kept: str
) -> None:
    path = tmp_path / name
    path.write_text("A=1\nEXIT_EXECUTOR_KILL_SWITCH=true\n")
    content = {"content": base64.b64encode(kept.encode()).decode()}
    restored = safe_point.content_to_restore(path, content).decode()
    assert safe_point.parse(restored)["EXIT_EXECUTOR_KILL_SWITCH"] == "true"
    assert safe_point.parse(restored)["A"] == "1"
    path.write_text("A=1\nEXIT_EXECUTOR_KILL_SWITCH=false\n")
    assert safe_point.content_to_restore(path, content).decode() == kept


def test_going_back_writes_no_kill_switch_where_nobody_reads_one(
    safe_point: Any, tmp_path: Path
) -> None:
    path = tmp_path / "alerts.env"
    path.write_text("no assignment")
    content = {"content": base64.b64encode(b"A=1\n").decode()}
    assert safe_point.content_to_restore(path, content) == b"A=1\n"


def test_going_back_keeps_a_kill_switch_that_is_engaged_while_it_writes(
    safe_point: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "exitbrain-v35.env"
    path.write_text("A=2\nEXIT_EXECUTOR_KILL_SWITCH=false\n")
    kept = {"mode": 0o600, "uid": os.getuid(), "gid": os.getgid()}
    kept["content"] = base64.b64encode(b"A=1\nEXIT_EXECUTOR_KILL_SWITCH=false\n").decode()
    real = os.fsync

    def sed_meanwhile(handle: int) -> None:
        real(handle)
        path.write_text("A=2\nEXIT_EXECUTOR_KILL_SWITCH=true\n")

    monkeypatch.setattr(os, "fsync", sed_meanwhile)
    assert safe_point.restore_file(path, kept)
    assert path.read_text() == "A=1\nEXIT_EXECUTOR_KILL_SWITCH=true\n"


PASSED, FAILED = {"exitbrain": 0, "executor": 0}, {"exitbrain": 2, "executor": 0}
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to root")


def kept_content(kept_point: Any, directory: Path) -> str:
    point = at_work.read_point(directory)
    return base64.b64decode(point["files"][str(directory / "alerts.env")]["content"]).decode()


@root_only
@pytest.mark.parametrize(
    ("verdicts", "runs_it", "kept", "state"),
    [
        (PASSED, True, "NOW=1\n", "live"),
        # Written by a deployment that died before it ran it: nobody knows whether it works.
        (PASSED, False, "PROVEN=1\n", "live"),
        (FAILED, False, "PROVEN=1\n", "shadow"),
        (FAILED, True, "PROVEN=1\n", "shadow"),
    ],
)
def test_what_was_written_and_never_run_is_nothing_to_go_back_to(
    safe_point: Any,
    kept_point: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    verdicts: dict[str, int],
    runs_it: bool,
    kept: str,
    state: str,
) -> None:
    (tmp_path / "alerts.env").write_text("PROVEN=1\n")
    first = safe_point.keep("shadow", PASSED)["holder"]
    (tmp_path / "alerts.env").write_text("NOW=1\n")
    monkeypatch.setattr(safe_point, "runs_what_lies_on_disk", lambda: runs_it)
    told = {"state": "live", **safe_point.keep("live", verdicts)}
    assert told["kept"]
    assert told["state"] == state
    assert kept_content(kept_point, tmp_path) == kept
    # It is this deployment's now.
    assert told["holder"] != first
    assert kept_point.own_point(first, tmp_path) is None
    assert kept_point.own_point(told["holder"], tmp_path)


@root_only
def test_a_changed_credential_makes_what_was_kept_useless(
    safe_point: Any, kept_point: Any, tmp_path: Path
) -> None:
    safe_point.keep("live", PASSED)
    (tmp_path / "testnet.env").write_text("BINANCE_TESTNET_API_KEY=another\n")
    assert safe_point.keep("live", FAILED) == {}
    assert at_work.read_point(tmp_path) is None


@root_only
def test_a_deployment_forgets_only_what_it_has_kept_itself(kept_point: Any, tmp_path: Path) -> None:
    mine = kept_point.write_point({"files": {}, "sources": {}}, tmp_path)
    another = kept_point.write_point({"files": {}, "sources": {}}, tmp_path)
    assert not kept_point.forget(mine, tmp_path)
    assert kept_point.own_point(another, tmp_path)
    assert kept_point.forget(another, tmp_path)
    assert at_work.read_point(tmp_path) is None
    assert not kept_point.forget(another, tmp_path)
