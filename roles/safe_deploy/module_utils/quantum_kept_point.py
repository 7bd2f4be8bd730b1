"""What a deployment has kept of a host to go back to, and whose it is.

One file that root alone may read. It belongs to one deployment, by an id that its first step makes:
a deployment puts back, and forgets, only what it has kept itself.
"""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path

from ansible.module_utils.quantum_at_work import NAME, read_point, session
from ansible.module_utils.quantum_private_files import exclusive, replace_all


def write_point(point: dict, directory: Path) -> str:
    """Make it this deployment's. Returns the id. Under the directory's lock."""
    holder = {"id": secrets.token_hex(8), "session": session(), "since_epoch": time.time()}
    replace_all(directory, {NAME: json.dumps({**point, "holder": holder})})
    return holder["id"]


def drop_point(directory: Path) -> None:
    (directory / NAME).unlink(missing_ok=True)


def own_point(holder: str, directory: Path) -> dict | None:
    """The point, if it is still that of the deployment with this id."""
    point = read_point(directory)
    return point if point and point.get("holder", {}).get("id") == holder else None


def forget(holder: str, directory: Path) -> bool:
    """Whether it was this deployment's: if not, another one has begun or ended meanwhile."""
    with exclusive(directory):
        if not own_point(holder, directory):
            return False
        drop_point(directory)
    return True
