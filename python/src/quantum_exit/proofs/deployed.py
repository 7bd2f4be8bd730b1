"""Release and configuration as they were deployed, and as they run."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from quantum_exit.exit_mode import KILL_SWITCH_VARIABLE
from quantum_exit.proofs import checks, host
from quantum_exit.proofs.model import Check, Outcome
from quantum_exit.proofs.observe import Beat
from quantum_exit.proofs.sandbox import COURIER_UNIT, REDIS_UNIT
from quantum_exit.values import Unknown

FILES_LIST: Final = "files.sha256"
"""In a release: `<sha256>  <path>` of each file, as `sha256sum -c` reads it."""
SHOWN: Final = 10
_ENV_FILES: Final[Mapping[str, str]] = {
    host.UNITS["exitbrain"]: "exitbrain-v35",
    host.UNITS["apply_layer"]: "apply-layer",
    host.UNITS["position_state"]: "position-state-brain",
    host.UNITS["intent_executor"]: "intent-executor",
    COURIER_UNIT: "alerts",
}
_FINGERPRINT: Final = "QUANTUM_UNIT_FINGERPRINT"
_REDIS_FILES: Final = (
    "/etc/redis/quantum.conf",
    "/etc/systemd/system/redis-server.service.d/quantum.conf",
)
_OURS_ON_REDIS: Final = frozenset({_REDIS_FILES[1]})
_TIMER_SERVICES: Final = (
    "exitbrain-proof.service",
    "quantum-exit-owner-watch.service",
    "quantum-policy-refresh.service",
    "quantum-producers-overlap.service",
    "quantum-alerts-canary.service",
)


def release_check(current: Path, beats: Mapping[str, Beat | Unknown]) -> Check:
    """Every service runs the release that is the current one."""
    name, key = "Every service runs the current release", "release"
    if not current.exists():
        return Check(key, name, Outcome.INFO, (f"no {current}: a host run by hand",))
    release = current.resolve()
    told, fine = [f"current: {release.name}"], True
    for service, beat in beats.items():
        if isinstance(beat, Unknown) or not host.process_alive(beat.pid):
            continue  # its own proof says that
        where = host.process_release(beat.pid, release.parent)
        if where is not None and where != release.name:
            told.append(f"{service} runs {where}: restart {host.UNITS[service]}")
            fine = False
    return Check(key, name, checks.outcome(fine), tuple(told))


def files_check(current: Path) -> Check:
    """Each file of the release is the one that was installed, and there is none besides."""
    name, key = "The release is as it was installed", "files"
    if not current.exists():
        return Check(key, name, Outcome.INFO, (f"no {current}: a host run by hand",), critical=True)
    release = current.resolve()
    try:
        lines = (release / FILES_LIST).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        why = f"{release.name} was installed without a list of its files"
        return Check(key, name, Outcome.INFO, (why,), critical=True)
    except (OSError, UnicodeDecodeError) as error:
        return Check(key, name, Outcome.FAIL, (f"{FILES_LIST}: {error}",), critical=True)
    listed = {path: digest for digest, _, path in (line.partition("  ") for line in lines)}
    found = set(_files(release))
    wrong = [f"changed: {path}" for path in sorted(found & set(listed)) if
             _digest(release / path) != listed[path]]  # fmt: skip
    wrong += [f"missing: {path}" for path in sorted(set(listed) - found)]
    wrong += [f"not of the release: {path}" for path in sorted(found - set(listed))]
    told = (*wrong[:SHOWN], f"{release.name}: {len(listed)} files")
    fine = not wrong and bool(listed)
    return Check(key, name, checks.outcome(fine), told, critical=True)


def _files(release: Path) -> Iterable[str]:
    for folder, _, names in os.walk(release):
        for each in names:
            path = Path(folder, each)
            if path.is_file() and not path.is_symlink():
                relative = str(path.relative_to(release))
                if relative != FILES_LIST:
                    yield relative


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def config_check(secrets: Path, units_folder: Path) -> Check:
    """What runs is what lies on disk, and nobody put anything over it.

    The kill switch in the environment is left out: it has a check of its own.
    """
    name, key = "What runs is the configuration on disk", "config"
    if not host.has_systemd() or not secrets.is_dir():
        return Check(key, name, Outcome.INFO, (f"no {secrets}: a host run by hand",))
    names = [*_ENV_FILES, REDIS_UNIT, *_TIMER_SERVICES]
    asked = ("MainPID", "LoadState", "NeedDaemonReload", "DropInPaths")
    said = host.read_properties(names, asked)
    if isinstance(said, Unknown):
        return Check(key, name, Outcome.FAIL, (said.why,))
    wrong = [text for unit, properties in said.items() for text in _unit(unit, properties)]
    for unit, env_file in _ENV_FILES.items():
        pid = int(said[unit].get("MainPID", "0") or 0)
        if host.process_alive(pid):
            file = secrets / f"{env_file}.env"
            wrong += _environment(unit, pid, file, units_folder / unit)
    wrong += _redis(int(said[REDIS_UNIT].get("MainPID", "0") or 0))
    told = (*wrong[:SHOWN], f"{len(said)} units looked at")
    return Check(key, name, checks.outcome(not wrong), told)


def _unit(unit: str, said: Mapping[str, str]) -> list[str]:
    wrong = []
    if said.get("LoadState") != "loaded":
        return [f"{unit} is {said.get('LoadState', 'not known')}"]
    if said.get("NeedDaemonReload") == "yes":
        wrong.append(f"{unit} has changed on disk: systemctl daemon-reload, then restart it")
    expected = _OURS_ON_REDIS if unit == REDIS_UNIT else frozenset[str]()
    foreign = set(said.get("DropInPaths", "").split()) - expected
    # Of the whole machine or of its container, not of this unit.
    foreign = {path for path in foreign if f"/{unit}.d/" in path}
    return wrong + [f"{unit}: {path} is not ours" for path in sorted(foreign)]


def _environment(unit: str, pid: int, file: Path, unit_file: Path) -> list[str]:
    running, on_disk = host.process_environ(pid), host.read_env_file(str(file))
    if isinstance(running, Unknown) or isinstance(on_disk, Unknown):
        return [] if os.geteuid() else [f"{unit}: {file.name} or its environment unreadable"]
    differs = sorted(
        name
        for name in on_disk
        if name != KILL_SWITCH_VARIABLE and running.get(name) != on_disk[name]
    )
    wrong = [f"{unit} runs without the {name} of {file.name}: restart it" for name in differs]
    if running.get(_FINGERPRINT, "") not in _read(unit_file):
        wrong.append(f"{unit} runs by another unit file than {unit_file}: restart it")
    return wrong


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _redis(pid: int) -> list[str]:
    """Its files are read at its start only."""
    started = host.process_started_epoch(pid)
    if started is None:
        return []
    newer = [path for path in _REDIS_FILES if _changed_at(path) > started]
    return [f"{REDIS_UNIT} started before {path} was changed: restart it" for path in newer]


def _changed_at(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return time.time()  # it is missing: nothing that runs can be what lies there
