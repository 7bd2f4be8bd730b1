"""What systemd prints, read; a process seen alive, dead and stopped."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from quantum_exit.alerts.watch import silent_timer
from quantum_exit.proofs import host
from quantum_exit.values import Unknown

from ..conftest import wait_for


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1h 39min 41.879820s", 3600 + 39 * 60 + 41.87982),
        ("5.5s", 5.5),
        ("250ms", 0.25),
        ("2d 3h", 2 * 86400 + 3 * 3600),
        ("1month 1w", 2629800 + 7 * 86400),
        ("0", None),
        ("", None),
        ("n/a", None),
        ("1h odd", None),
    ],
)
def test_spans(text: str, seconds: float | None) -> None:
    assert host.parse_timespan(text) == pytest.approx(seconds)


SHOWN = """Id=quantum.service
LoadState=loaded
ActiveState=active
SubState=running
MainPID=905
NRestarts=2
ActiveEnterTimestampMonotonic=1000000
Result=success

Id=quantum.timer
LoadState=loaded
ActiveState=active
SubState=waiting
ActiveEnterTimestampMonotonic=1000000
LastTriggerUSecMonotonic=1s 500ms
Result=success

Id=absent.timer
LoadState=not-found
ActiveState=inactive
SubState=dead
"""


@pytest.fixture
def units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, host.UnitState]:
    """Three units as a real systemctl printed them."""
    program = tmp_path / "systemctl"
    program.write_text(f"#!/bin/sh\ncat <<'E'\n{SHOWN}E\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = host.read_units(["quantum.service", "quantum.timer", "absent.timer"])
    assert not isinstance(found, Unknown), found
    return found


def test_units(units: dict[str, host.UnitState]) -> None:
    service = units["quantum.service"]
    assert (service.running, service.main_pid, service.restarts) == (True, 905, 2)
    assert service.active_for_s is not None
    assert service.active_for_s > 0
    timer = units["quantum.timer"]
    assert timer.active_for_s is not None
    assert timer.triggered_ago_s == pytest.approx(timer.active_for_s - 0.5)
    assert not units["absent.timer"].installed


def test_a_silent_timer(units: dict[str, host.UnitState]) -> None:
    timer = units["quantum.timer"]
    assert silent_timer(timer, patience_s=1e9) == ""
    assert "last fired" in silent_timer(timer, patience_s=0.001)
    assert silent_timer(units["absent.timer"], 1e9) == "not installed"


def test_a_systemctl_that_fails_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert isinstance(host.read_units(["quantum.service"]), Unknown)


def test_processes() -> None:
    process = subprocess.Popen(["sleep", "60"], env={"EXIT_MODE": "LEGACY"})
    try:
        assert host.process_alive(process.pid)
        # Between fork and exec it still has ours.
        wait_for(
            lambda: host.process_environ(process.pid) == {"EXIT_MODE": "LEGACY"}, "its environment"
        )
        process.send_signal(signal.SIGSTOP)
        assert host.process_alive(process.pid)
    finally:
        process.kill()
    wait_for(lambda: not host.process_alive(process.pid), "a zombie is dead")
    process.wait()
    assert not host.process_alive(process.pid)
    assert isinstance(host.process_environ(process.pid), Unknown)
