"""The host itself: units of systemd, processes, their environment. Read only."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quantum_exit.values import Unknown

UNITS: Final[Mapping[str, str]] = {
    "exitbrain": "quantum-exitbrain-v35.service",
    "apply_layer": "quantum-apply-layer.service",
    "position_state": "quantum-position-state-brain.service",
    "intent_executor": "quantum-intent-executor.service",
}
"""The service's name in Redis -> its unit."""

_PROPERTIES: Final = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "MainPID",
    "NRestarts",
    "InvocationID",
    "ActiveEnterTimestampMonotonic",
    "LastTriggerUSecMonotonic",
    "Result",
)
_SYSTEMCTL_TIMEOUT_S: Final = 5
_SPAN_UNITS: Final = {
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 7 * 86400.0,
    "month": 2629800.0,
    "y": 31557600.0,
}
_SPAN = re.compile(rf"(\d+(?:\.\d+)?)({'|'.join(_SPAN_UNITS)})", re.ASCII)


def has_systemd() -> bool:
    return os.path.isdir("/run/systemd/system") and shutil.which("systemctl") is not None


@dataclass(frozen=True, slots=True)
class UnitState:
    """What systemd says of a unit."""

    unit: str
    installed: bool
    active: str
    sub: str
    main_pid: int
    restarts: int
    """By systemd itself, since the last start that somebody asked for."""
    invocation: str
    """Of its last start."""
    active_for_s: float | None
    """None while it is not active."""
    triggered_ago_s: float | None
    """Of a timer: None when it never fired since the boot."""
    result: str

    @property
    def running(self) -> bool:
        return self.active == "active" and self.main_pid > 0


def read_units(units: Iterable[str]) -> dict[str, UnitState] | Unknown:
    """By unit name; one call for all of them. Unknown when systemd does not answer."""
    said = read_properties(units, _PROPERTIES)
    if isinstance(said, Unknown):
        return said
    now_mono = time.clock_gettime(time.CLOCK_MONOTONIC)
    return {name: _unit(name, properties, now_mono) for name, properties in said.items()}


def read_properties(
    units: Iterable[str], properties: Iterable[str]
) -> dict[str, dict[str, str]] | Unknown:
    """What systemd says of each unit, by its name; a property it does not know is left out."""
    names = list(units)
    command = ["systemctl", "show", f"--property={','.join(properties)}", "--", *names]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program with the names of our units
            command, capture_output=True, text=True, timeout=_SYSTEMCTL_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Unknown(f"systemctl: {error}")
    blocks = [block for block in done.stdout.split("\n\n") if block.strip()]
    if len(blocks) != len(names):
        return Unknown("systemctl answered about another number of units")
    return {
        name: dict(line.partition("=")[::2] for line in block.splitlines())
        for name, block in zip(names, blocks, strict=True)
    }


def _unit(name: str, said: Mapping[str, str], now_mono: float) -> UnitState:
    active = said.get("ActiveState", "unknown")
    since_us = _whole(said.get("ActiveEnterTimestampMonotonic"))
    triggered_s = parse_timespan(said.get("LastTriggerUSecMonotonic", ""))
    return UnitState(
        unit=name,
        installed=said.get("LoadState") == "loaded",
        active=active,
        sub=said.get("SubState", ""),
        main_pid=_whole(said.get("MainPID")),
        restarts=_whole(said.get("NRestarts")),
        invocation=said.get("InvocationID", ""),
        active_for_s=now_mono - since_us / 1e6 if active == "active" and since_us else None,
        triggered_ago_s=now_mono - triggered_s if triggered_s else None,
        result=said.get("Result", ""),
    )


def parse_timespan(text: str) -> float | None:
    """Seconds of a span as systemctl prints it, `1h 39min 41.879s`; None for anything else."""
    parts = text.split()
    matches = [_SPAN.fullmatch(part) for part in parts]
    if not parts or not all(matches):
        return None
    return sum(float(match[1]) * _SPAN_UNITS[match[2]] for match in matches if match)


def _whole(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0


def process_alive(pid: int) -> bool:
    """A zombie is dead: it beats no more."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[:1] not in (["Z"], ["X"])


def process_started_epoch(pid: int) -> float | None:
    """When a process began, Unix seconds; None when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        ticks = int(stat.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - age_s


def process_release(pid: int, releases: Path) -> str | None:
    """The release whose interpreter runs this process; None when it is none of `releases`."""
    try:
        program = Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0].decode()
    except (OSError, UnicodeDecodeError):
        return None
    path = Path(program)
    return path.relative_to(releases).parts[0] if path.is_relative_to(releases) else None


def process_status(pid: int) -> dict[str, str]:
    """`/proc/<pid>/status` by its names; empty when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def root_is_read_only(pid: int) -> bool | Unknown:
    """Whether the process sees a file system that it cannot write to. The last mount on `/`
    is the one it sees."""
    try:
        text = Path(f"/proc/{pid}/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return Unknown(f"/proc/{pid}/mountinfo: {error.strerror}")
    options = [words[5] for line in text.splitlines() if (words := line.split())[4:5] == ["/"]]
    return bool(options) and "ro" in options[-1].split(",")


def process_environ(pid: int) -> dict[str, str] | Unknown:
    """The environment a process was started with. Unknown when it may not be read."""
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError as error:
        return Unknown(f"/proc/{pid}/environ: {error.strerror}")
    if not raw:
        return Unknown(f"/proc/{pid}/environ is empty")
    pairs = (part.partition(b"=") for part in raw.split(b"\0") if part)
    return {
        name.decode(errors="replace"): value.decode(errors="replace") for name, _, value in pairs
    }


def read_env_file(path: str) -> dict[str, str] | Unknown:
    """The variables of one of our env files. Unknown when it is missing or not for us to read."""
    from quantum_exit.envfile import EnvFileError, parse

    try:
        return parse(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        return Unknown(f"{path}: {error.strerror}")
    except (UnicodeDecodeError, EnvFileError) as error:
        return Unknown(f"{path}: {error}")
