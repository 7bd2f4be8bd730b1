"""Whether a deployment is at work on this host: by what it keeps to go back to, and its connection.

A deployment is many calls of the host; between them nothing of it runs there but sshd.

Standard library only: Ansible modules run this file on hosts that have nothing else.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAME = "before-deployment.json"
AT_WORK_S = 300
"""A deployment takes less. Whose connection is there after that has left it alone."""
_SSHD = "sshd"


def read_point(directory: Path) -> dict[str, Any] | None:
    """What a deployment has kept; None if there is none, or nothing that can be read."""
    try:
        point = json.loads((directory / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    # An older deployment may have written it otherwise.
    whole = isinstance(point, dict) and isinstance(point.get("sources"), dict)
    return point if whole else None


def at_work(point: Mapping[str, Any] | None) -> str:
    """The process of another deployment's connection, if that goes on right now; else empty."""
    holder = (point or {}).get("holder", {})
    other = str(holder.get("session", ""))
    if not other or other == session() or time.time() - holder["since_epoch"] > AT_WORK_S:
        return ""
    pid, _, started = other.partition(":")
    return pid if process(pid)[2] == started else ""


def session(pid: str = "self") -> str:
    """The SSH connection that this runs in, as process and its start; empty if it is none.

    All tasks of a run share it, and those of a second try from the same machine.
    """
    while pid not in ("", "0", "1"):
        name, parent, started = process(pid)
        if name.startswith(_SSHD):
            return f"{pid}:{started}"
        pid = parent
    return ""


def process(pid: str) -> tuple[str, str, str]:
    """Name, parent and time of start, in ticks since the boot; empty words if it is gone."""
    try:
        text = Path("/proc", pid, "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "", "", ""
    name = text[text.index("(") + 1 : text.rindex(")")]
    words = text[text.rindex(")") + 1 :].split()
    return name, words[1], words[19]
