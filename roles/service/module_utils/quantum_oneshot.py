"""Running a oneshot unit to its end, unless it has seen what it reads."""

from __future__ import annotations

import subprocess
from pathlib import Path


class OneshotError(Exception):
    """The unit failed; with its log lines."""


def run(*command: str) -> tuple[int, str]:
    done = subprocess.run(list(command), capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.strip()


def why_run(name: str, files: list[str]) -> str:
    """Why the unit has to run: not since the boot, its last run failed, or a file is newer."""
    properties = "--property=ExecMainStartTimestamp,Result"
    shown = run("systemctl", "show", "--timestamp=unix", properties, name)[1]
    said = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    started = said.get("ExecMainStartTimestamp", "").lstrip("@")
    if not started.isdigit():
        return "it has not run since the boot"
    if said.get("Result") != "success":
        return f"its last run ended with {said.get('Result')}"
    # Whole seconds: what was written in the very second of the last run counts as newer.
    try:
        newer = [path for path in files if Path(path).stat().st_mtime >= int(started)]
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    return f"{newer[0]} is newer than its last run" if newer else ""


def run_to_its_end(name: str) -> None:
    """Raises OneshotError if it fails."""
    if run("systemctl", "start", name)[0] == 0:
        return
    invocation = run("systemctl", "show", "--property=InvocationID", "--value", name)[1]
    query = f"_SYSTEMD_INVOCATION_ID={invocation}"
    log = run("journalctl", "--no-pager", "--output=cat", "--lines=30", query)[1]
    raise OneshotError(f"{name} failed. Its log lines:\n{log}")


def diff(name: str, reason: str) -> dict[str, str]:
    return {"before": "", "after": f"run {name}: {reason}\n" if reason else ""}
