"""The deployed host as an operator sees it, and ways to wait for it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from testinfra.host import Host

BRAIN = "quantum-exitbrain-v35"
# Each service with its user and the name of its heartbeat.
SERVICES = {
    BRAIN: ("quantum-exitbrain", "exitbrain"),
    "quantum-apply-layer": ("quantum-apply", "apply_layer"),
    "quantum-position-state-brain": ("quantum-position", "position_state"),
    "quantum-intent-executor": ("quantum-executor", "intent_executor"),
    "quantum-alerts": ("quantum-alerts", "alerts"),
}
TIMERS = (
    "exitbrain-proof",
    "quantum-exit-owner-watch",
    "quantum-policy-refresh",
    "quantum-producers-overlap",
    "quantum-alerts-canary",
)


def until(
    what: str, condition: Callable[[], object], timeout_s: float = 40, every_s: float = 0.3
) -> None:
    """Wait for the condition, or fail saying what was waited for."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(every_s)


def outcomes(host: Host, proof: str = "exitbrain") -> dict[str, str]:
    """Outcome of each check of a proof by its key; empty if it could not be run.

    Each call costs the exchange some weight: in a loop it would run into its limit.
    """
    said = host.run(f"exitctl proof {proof} --json").stdout
    try:
        report = json.loads(said)
    except ValueError:
        return {}
    return {test["key"]: test["outcome"] for test in report["tests"]}


def is_fit(host: Host) -> bool:
    """True if everything is ready and LIVE, as the host itself says; costs the exchange nothing."""
    try:
        seen = json.loads(host.run("exitctl status --json").stdout)
    except ValueError:
        return False
    ready = all(service["ready"] and service["fresh"] for service in seen["services"].values())
    return ready and seen["mode"]["state"] == "LIVE"


def main_pid(host: Host, unit: str) -> int:
    """0 if it does not run."""
    return int(host.check_output(f"systemctl show {unit} --property MainPID --value"))


def started(host: Host) -> str:
    """When the host's systemd started; empty while the host cannot be reached."""
    try:
        asked = host.run("systemctl show --property UserspaceTimestampMonotonic --value")
    except RuntimeError:  # so testinfra says that ssh did not get through
        return ""
    return asked.stdout.strip()
