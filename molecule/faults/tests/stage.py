"""The host, as it is broken, proven and mended."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Set
from pathlib import Path

from faults import Fault

ROOT = Path(__file__).resolve().parents[3]
HOST = os.environ.get("QUANTUM_FAULTS_HOST", "faults")
_SSH = (
    *("ssh", "-F", str(ROOT / ".quantum" / "ssh_config")),
    *("-o", "ControlMaster=auto", "-o", "ControlPersist=60"),
    *("-o", f"ControlPath=/run/quantum-faults-{os.getpid()}-%C"),
)
_WORDS = (Path(__file__).resolve().parents[1] / "files" / "faults.sh").read_text(encoding="utf-8")


def until(what: str, condition: Callable[[], object], timeout_s: float = 60) -> None:
    """Wait for the condition, or fail saying what was waited for."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.5)


def run(command: str, *, check: bool = True) -> str:
    """On the host; its output."""
    done = subprocess.run(
        [*_SSH, HOST, command], capture_output=True, text=True, check=False, timeout=120
    )
    assert not check or done.returncode == 0, f"{command}: {done.stderr}{done.stdout}"
    return done.stdout


def act(script: str) -> str:
    """A command of the table, or one made of the same words; its output."""
    done = subprocess.run(
        [*_SSH, HOST, "bash -s"],
        input=f"{_WORDS}\n{script}\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, f"{script}: {done.stderr}{done.stdout}"
    return done.stdout


def prove() -> dict[str, str]:
    """Outcome of each check, as `proof.key`; of a proof that could not be run, `proof`."""
    said = run("exitctl proof all --json", check=False)
    seen: dict[str, str] = {}
    for proof in json.loads(said)["proofs"]:
        if proof["error"]:
            seen[proof["proof"]] = "FAIL"
        for test in proof["tests"]:
            seen[f"{proof['proof']}.{test['key']}"] = test["outcome"]
    return seen


def red() -> set[str]:
    return {name for name, outcome in prove().items() if outcome == "FAIL"}


def red_at_last(expected: Set[str]) -> set[str]:
    """What is red as soon as it is just that; or what else stayed red, or did not turn so.
    A service that the fault has restarted needs a moment."""
    deadline = time.monotonic() + 15
    while (found := red()) != expected and time.monotonic() < deadline:
        time.sleep(1)
    return found


def evidence() -> str:
    """What the checks that are red say, for the message of a test that failed."""
    said = json.loads(run("exitctl proof all --json", check=False))
    lines = [
        f"{proof['proof']}.{test['key']}: {'; '.join(test['evidence'])}"
        for proof in said["proofs"]
        for test in proof["tests"]
        if test["outcome"] == "FAIL"
    ]
    return "\n".join(lines)


def is_fit() -> bool:
    """Ready and LIVE, as the host itself says; it costs the exchange nothing."""
    try:
        seen = json.loads(run("exitctl status --json", check=False))
    except ValueError:
        return False
    ready = all(service["ready"] and service["fresh"] for service in seen["services"].values())
    return ready and seen["mode"]["state"] == "LIVE"


def mended(fault: Fault) -> None:
    """Repair it, and wait until everything is green."""
    act(fault.repair)
    until("the host is fit", is_fit)
    left: set[str] = set()

    def green() -> bool:
        nonlocal left
        left = red()
        return not left

    try:
        until("everything is green", green, 30)
    except AssertionError as error:
        raise AssertionError(f"{fault.name} was repaired, and red stayed {left}: {error}") from None
