"""Running a oneshot unit to its end, unless it has seen what it reads."""

from __future__ import annotations

import subprocess
from datetime import datetime
from pathlib import Path

TICK_S = 0.02  # a file's time is that of the kernel's last tick


class OneshotError(Exception):
    """The unit failed; with its log lines."""


def run(*command: str) -> tuple[int, str]:
    done = subprocess.run(list(command), capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.strip()


def why_run(name: str, files: list[str]) -> str:
    """Why the unit has to run: not since the boot, its last run failed, or a file is newer."""
    properties = "--property=ExecMainStartTimestamp,Result"
    shown = run("systemctl", "show", "--timestamp=us+utc", properties, name)[1]
    said = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    # The name of the day stands in front, which would be looked for in the host's language.
    started_at = said.get("ExecMainStartTimestamp", "").partition(" ")[2]
    try:
        at_utc = started_at.replace("UTC", "+0000")
        started = datetime.strptime(at_utc, "%Y-%m-%d %H:%M:%S.%f %z")
    except ValueError:
        return "it has not run since the boot"
    if said.get("Result") != "success":
        return f"its last run ended with {said.get('Result')}"
    seen_epoch = started.timestamp() - TICK_S
    try:
        newer = [path for path in files if Path(path).stat().st_mtime >= seen_epoch]
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
