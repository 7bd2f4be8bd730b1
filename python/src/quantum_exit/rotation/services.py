"""The services of the host: made to run what lies on disk, one after another, each waited for."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import redis

from quantum_exit.bus.connection import connect
from quantum_exit.exit_mode import env_kill_active
from quantum_exit.proofs import host, observe
from quantum_exit.rotation import files
from quantum_exit.rotation.errors import RotationError
from quantum_exit.rotation.rebind import variables
from quantum_exit.values import Unknown

ENV_FILES: Final[Mapping[str, str]] = {
    "apply_layer": "apply-layer.env",
    "position_state": "position-state-brain.env",
    "intent_executor": "intent-executor.env",
    "exitbrain": "exitbrain-v35.env",
}
"""In the order of their restarts: whoever checks signatures before the one who signs."""

COMPANIONS: Final[Mapping[str, str]] = {
    "quantum-alerts.service": "alerts.env",
    "quantum-metrics.service": "metrics.env",
}
"""Units that have a password of Redis too, after the services; they are ready once started."""

READY_WITHIN_S: Final = 20.0
PROVEN_WITHIN_S: Final = 15.0
_PROOF_EVERY_S: Final = 2.0
"""A proof asks the exchange for much, and what an address may ask in a minute is limited."""
COULD_NOT_RUN: Final = "*"
_RESTART_TIMEOUT_S: Final = 30.0
_PROOF_TIMEOUT_S: Final = 60.0
_POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Condition:
    """How the host was before: what must not get worse."""

    expect: str
    """What the proof is to expect: live, shadow or killed."""
    failed: tuple[str, ...]
    """Keys of the proof's tests that failed; COULD_NOT_RUN alone when it could not be run."""
    not_ready: Mapping[str, str]
    """Services that were not ready, with what they said."""


class Host:
    """`directory`: where the env files are."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def environ(self, name: str) -> dict[str, str]:
        """The variables of an env file. Raises RotationError when it is missing or broken."""
        path = self._directory / name
        text = files.read(path)
        if text is None:
            raise RotationError(f"{path} is missing: deploy first (ansible/site.yml)")
        return variables(text, str(path))

    def condition(self) -> Condition:
        """Look, before anything is changed."""
        self._refuse_half_released()
        status = self._exitctl("status")
        if "services" not in status:
            why = status.get("redis_error", "exitctl status could not be run")
            raise RotationError(f"the host cannot be judged: {why}")
        expect = "live"
        not_ready: dict[str, str] = {}
        if status["kill_switch"]["on"]:
            expect = "killed"
        elif status["mode"]["state"] == "SHADOW":
            expect = "shadow"
        for name, service in status["services"].items():
            if not service["ready"]:
                not_ready[name] = service["status"]
        return Condition(expect, self.proof(expect), not_ready)

    def proof(self, expect: str) -> tuple[str, ...]:
        """Keys of the tests that fail."""
        document = self._exitctl("proof", "exitbrain", "--expect", expect)
        if not document.get("tests"):
            return (COULD_NOT_RUN,)
        return tuple(t["key"] for t in document["tests"] if t["outcome"] == "FAIL")

    def prove(self, before: Condition) -> None:
        """Wait for a proof that is no worse than the one before. Raises RotationError."""
        deadline = time.monotonic() + PROVEN_WITHIN_S
        while True:
            worse = sorted(set(self.proof(before.expect)) - set(before.failed))
            if not worse:
                return
            if time.monotonic() > deadline:
                raise RotationError(f"the proof fails in what passed before: {', '.join(worse)}")
            time.sleep(_PROOF_EVERY_S)

    def run_what_lies_on_disk(self, before: Condition) -> list[str]:
        """Restart each service whose process holds other values than its file, and wait until it
        is as ready as it was. Returns those that were restarted. One that is stopped stays so.
        """
        restarted = []
        for name, file in ENV_FILES.items():
            if self._is_outdated(host.UNITS[name], file):
                self._restart(name, before.not_ready.get(name))
                restarted.append(host.UNITS[name])
        for unit, file in COMPANIONS.items():
            if self._is_outdated(unit, file):
                self._start_anew(unit)
                restarted.append(unit)
        return restarted

    def _refuse_half_released(self) -> None:
        name = "exitbrain"
        running = self._process_environ(host.UNITS[name])
        if (
            running
            and env_kill_active(running)
            and not env_kill_active(self.environ(ENV_FILES[name]))
        ):
            raise RotationError(
                f"the running {host.UNITS[name]} was started with its kill switch on, but its env "
                "file says off: a rotation never releases it. Restart the unit by hand to release "
                "it, or write it back as on"
            )

    def _is_outdated(self, unit: str, file: str) -> bool:
        running = self._process_environ(unit)
        if running is None:
            return False
        return any(running.get(k) != v for k, v in self.environ(file).items())

    def _process_environ(self, unit: str) -> dict[str, str] | None:
        """None when it does not run."""
        units = host.read_units([unit])
        if isinstance(units, Unknown):
            raise RotationError(units.why)
        state = units[unit]
        if state.active not in ("active", "activating", "reloading") or not state.installed:
            return None
        environ = host.process_environ(state.main_pid)
        # Between two starts there is no process: the next one reads the file.
        return {} if isinstance(environ, Unknown) else environ

    def _start_anew(self, unit: str) -> None:
        try:
            done = subprocess.run(  # noqa: S603 - a fixed program with the name of our unit
                ["systemctl", "restart", unit],  # noqa: S607
                capture_output=True,
                text=True,
                timeout=_RESTART_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RotationError(f"{unit} was not restarted: {type(error).__name__}") from None
        if done.returncode != 0:
            raise RotationError(f"{unit} did not start: see journalctl -u {unit}")

    def _restart(self, name: str, was_not_ready: str | None) -> None:
        unit = host.UNITS[name]
        self._start_anew(unit)
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            why = self._why_not_ready(name)
            if not why or why == was_not_ready:
                return
            if time.monotonic() > deadline:
                raise RotationError(f"{unit} was restarted and is not ready: {why}")
            time.sleep(_POLL_S)

    def _why_not_ready(self, name: str) -> str:
        """Empty when the process that runs now says that it is ready."""
        units = host.read_units([host.UNITS[name]])
        if isinstance(units, Unknown):
            return units.why
        try:
            client = connect(self.environ("operator.env")["REDIS_URL"], decode=True)
            try:
                beat = observe.read_beat(client, name, time.time())
            finally:
                client.close()
        except (redis.RedisError, KeyError) as error:
            return f"its heartbeat cannot be read: {type(error).__name__}"
        if isinstance(beat, Unknown):
            return beat.why
        if beat.pid != units[host.UNITS[name]].main_pid:
            return "no heartbeat since its restart"
        return "" if beat.ready and beat.fresh else beat.status or "not ready"

    def _exitctl(self, *words: str) -> dict[str, Any]:
        command = [sys.executable, "-sP", "-m", "quantum_exit.exitctl", *words, "--json"]
        try:
            done = subprocess.run(  # noqa: S603 - our own program with words of ours
                command,
                capture_output=True,
                text=True,
                timeout=_PROOF_TIMEOUT_S,
                check=False,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
            )
            document = json.loads(done.stdout)
        except (OSError, subprocess.TimeoutExpired, ValueError):
            return {}
        return document if isinstance(document, dict) else {}


def restarted_text(units: Iterable[str]) -> str:
    names = ", ".join(unit.removesuffix(".service") for unit in units)
    return f"restarted: {names}" if names else "no service had to be restarted"
