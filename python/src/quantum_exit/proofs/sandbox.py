"""The sandboxing of each unit, as its running process has it, whatever its files say."""

from __future__ import annotations

from typing import Final

from quantum_exit.proofs import checks, host
from quantum_exit.proofs.model import Check, Outcome
from quantum_exit.values import Unknown

REDIS_UNIT: Final = "redis-server.service"
COURIER_UNIT: Final = "quantum-alerts.service"
METRICS_UNIT: Final = "quantum-metrics.service"
UNITS: Final = (*host.UNITS.values(), COURIER_UNIT, METRICS_UNIT, REDIS_UNIT)
_FILTERED: Final = "2"
"""Of `Seccomp`: system calls are filtered."""


def sandbox_check() -> Check:
    name, key = "Every service runs in its sandbox", "sandbox"
    if not host.has_systemd():
        return Check(key, name, Outcome.INFO, ("no systemd here: services run by hand",))
    units = host.read_units(UNITS)
    if isinstance(units, Unknown):
        return Check(key, name, Outcome.FAIL, (units.why,))
    running = {unit: state.main_pid for unit, state in units.items() if state.running}
    wrong = [
        f"{unit}: {', '.join(holes)}" for unit, pid in running.items() if (holes := _holes(pid))
    ]
    told = (*wrong, f"{len(running)} running service(s) looked at")
    return Check(key, name, checks.outcome(not wrong), told)


def _holes(pid: int) -> list[str]:
    """What the process may do beyond what its unit allows it; empty for one that has ended."""
    status = host.process_status(pid)
    if not status:
        return []
    holes = []
    if status.get("Uid", "0").split()[:1] == ["0"]:
        holes.append("runs as root")
    if status.get("NoNewPrivs") != "1":
        holes.append("may gain privileges")
    if status.get("Seccomp") != _FILTERED:
        holes.append("system calls are not filtered")
    capabilities = [status.get(name, "0") for name in ("CapEff", "CapBnd", "CapAmb")]
    if any(int(value, 16) for value in capabilities):
        holes.append("has capabilities")
    if host.root_is_read_only(pid) is False:
        holes.append("may write to the file system")
    return holes
