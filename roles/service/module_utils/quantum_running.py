"""What the process of a service was started with, and what lies on disk for it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path

from ansible.module_utils.quantum_envfile import parse

UNITS = Path("/etc/systemd/system")
# Variables that come from our files; all others in a process are systemd's own.
OURS = (
    *("BINANCE_", "USE_BINANCE_", "EXIT_", "INTENT_EXECUTOR_", "QUANTUM_", "REDIS_", "PAPER_"),
    *("ALERTS_", "METRICS_"),
)
FINGERPRINT = "QUANTUM_UNIT_FINGERPRINT"
SHOWN = (
    *("ActiveState", "SubState", "Result", "MainPID", "ExecMainStatus", "StatusText"),
    "EnvironmentFiles",
)
LOG_LINES = 30
POLL_S = 0.1
WRONG = "wrong configuration; it is not started again until that is mended"


def show(name: str) -> dict[str, str]:
    """What systemd says of the unit. A property that it tells several times has several lines."""
    command = ["systemctl", "show", f"--property={','.join(SHOWN)}", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found: dict[str, str] = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition("=")
        found[key] = f"{found[key]}\n{value}" if key in found else value
    return found


def process_environment(pid: str) -> dict[str, str]:
    content = Path("/proc", pid, "environ").read_bytes().decode("utf-8", "surrogateescape")
    return dict(word.split("=", 1) for word in content.split("\0") if "=" in word)


def environment_of(name: str) -> dict[str, str]:
    """What the unit's main process was started with; empty if none runs."""
    try:
        return process_environment(show(name).get("MainPID") or "0")
    except OSError:
        return {}


def process_release(pid: str, root: Path) -> str:
    """The release that a process was started from, by its command line."""
    program = Path("/proc", pid, "cmdline").read_bytes().split(b"\0")[0].decode()
    try:
        return Path(program).relative_to(root / "releases").parts[0]
    except ValueError:
        return "another program"


def text_of(name: str) -> str:
    path = UNITS / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


def fingerprint_in(text: str) -> str:
    marker = f"Environment={FINGERPRINT}="
    lines = (line for line in text.splitlines() if line.startswith(marker))
    return next((line.removeprefix(marker) for line in lines), "")


def env_files(state: dict[str, str], otherwise: str) -> list[str]:
    """What systemd reads for the unit, in its order: drop-ins may have named more than one."""
    words = [line.rpartition(" (")[0] for line in state.get("EnvironmentFiles", "").splitlines()]
    return [word for word in words if word] or [otherwise]


def variables_in(paths: list[str]) -> dict[str, str]:
    """Of two assignments of a variable the later file's counts."""
    found: dict[str, str] = {}
    for path in paths:
        found.update(parse(Path(path).read_text(encoding="utf-8")))
    return found


def differences(state: dict[str, str], service: dict, unit_text: str) -> list[str]:
    """What the running process has that the disk has not, and the other way round."""
    root, pid = Path(service["root"]), state["MainPID"]
    running = process_environment(pid)
    on_disk = variables_in(env_files(state, service["env_file"]))
    reasons = []
    current = os.path.basename(os.path.realpath(root / "current"))
    started_from = process_release(pid, root)
    if started_from != current:
        reasons.append(f"release: {started_from} runs, {current} is current")
    if running.get(FINGERPRINT, "") != fingerprint_in(unit_text):
        reasons.append("the unit file has changed since it was started")
    reasons += [f"{name} has changed" for name in on_disk if running.get(name) != on_disk[name]]
    reasons += [
        f"{name} is gone"
        for name in running
        if name.startswith(OURS) and name not in on_disk and name != FINGERPRINT
    ]
    return reasons


def is_not_there(service: dict) -> bool:
    """A service that came with a later release than the current one."""
    if not service["package"]:
        return False
    place = f"lib/python3*/site-packages/{service['package'].replace('.', '/')}"
    installed = (UNITS / service["name"]).exists()
    return not installed or not list(Path(service["root"], "current").glob(place))


def why_restart(service: dict, state: dict[str, str], unit_text: str = "") -> list[str]:
    """`service`: its `name` (the unit), `env_file` and `root`; `state`: what systemd says of it;
    `unit_text`: the unit file, if it is not the one that lies there.

    Names of variables, never values. Raises EnvFileError for a file that systemd would misread.
    """
    if state.get("ActiveState") != "active" or state.get("MainPID", "0") == "0":
        return [f"it is {state.get('ActiveState', 'unknown')}, not active"]
    try:
        return differences(state, service, unit_text or text_of(service["name"]))
    except (FileNotFoundError, ProcessLookupError):
        return ["it ended, or its files are not there yet"]


def restart(name: str, timeout_s: int) -> str:
    """Restart and wait until it is ready. Return an empty string, or what went wrong."""
    deadline = time.monotonic() + timeout_s
    subprocess.run(["systemctl", "reset-failed", name], capture_output=True, check=False)
    command = ["systemctl", "restart", name]
    with contextlib.suppress(subprocess.TimeoutExpired):  # the state below says what it came to
        subprocess.run(command, capture_output=True, check=False, timeout=timeout_s)
    while True:
        state = show(name)
        if state.get("ActiveState") == "active":
            return ""
        if state.get("ActiveState") == "failed":
            status = state.get("ExecMainStatus", "")
            wrong = status == str(os.EX_CONFIG)
            return f"it ended with status {status} ({WRONG if wrong else state.get('Result')})"
        if time.monotonic() > deadline:
            return f"it is {state.get('ActiveState')} ({state.get('SubState')}) after {timeout_s} s"
        time.sleep(POLL_S)


def log_lines(name: str, since_epoch: int) -> list[str]:
    command = ["journalctl", "--no-pager", "--output=short", f"--since=@{since_epoch}"]
    command += [f"--lines={LOG_LINES}", "--unit", name]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
