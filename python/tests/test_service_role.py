"""The service role's modules, where a host is not needed to see what they decide."""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest

from .conftest import REPOSITORY

ONESHOT = REPOSITORY / "roles" / "service" / "module_utils" / "quantum_oneshot.py"


@pytest.fixture
def oneshot() -> ModuleType:
    spec = importlib.util.spec_from_file_location("quantum_oneshot", ONESHOT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
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
