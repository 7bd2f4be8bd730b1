"""What a deployment has kept of a host to go back to, and whose it is.

One file that root alone may read. It belongs to one deployment, by an id that its first step makes:
a deployment puts back, and forgets, only what it has kept itself.
"""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path

from ansible.module_utils.quantum_private_files import exclusive, replace_all

SECRETS = Path("/etc/quantum")
NAME = "before-deployment.json"
# A deployment takes less. One whose connection is still there after that was left by its person.
AT_WORK_S = 300
SSHD = "sshd"


def read_point(directory: Path = SECRETS) -> dict | None:
    try:
        point = json.loads((directory / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # never written, or by a run that died: there is nothing to go back to
    # An older deployment may have written it otherwise.
    whole = isinstance(point, dict) and isinstance(point.get("sources"), dict)
    return point if whole else None


def write_point(point: dict, directory: Path = SECRETS) -> str:
    """Make it this deployment's. Returns the id. Under the directory's lock."""
    holder = {"id": secrets.token_hex(8), "session": session(), "since_epoch": time.time()}
    replace_all(directory, {NAME: json.dumps({**point, "holder": holder})})
    return holder["id"]


def drop_point(directory: Path = SECRETS) -> None:
    (directory / NAME).unlink(missing_ok=True)


def own_point(holder: str, directory: Path = SECRETS) -> dict | None:
    """The point, if it is still that of the deployment with this id."""
    point = read_point(directory)
    return point if point and point.get("holder", {}).get("id") == holder else None


def forget(holder: str, directory: Path = SECRETS) -> bool:
    """Whether it was this deployment's: if not, another one has begun or ended meanwhile."""
    with exclusive(directory):
        if not own_point(holder, directory):
            return False
        drop_point(directory)
    return True


def at_work(point: dict | None) -> str:
    """The process of another deployment's connection, if that goes on right now; else empty."""
    holder = (point or {}).get("holder", {})
    other = holder.get("session", "")
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
        if name.startswith(SSHD):
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
