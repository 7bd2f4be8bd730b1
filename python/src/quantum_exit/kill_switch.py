"""The kill switch as it is read: three places, on in any of them is on.

Missing, unreadable or malformed counts as active. Only a well-formed "off" is off.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Final

_FILE_LIMIT: Final = 64


@dataclass(frozen=True, slots=True)
class SwitchState:
    """One place of the kill switch. `why` says what was seen, for people."""

    active: bool
    why: str


def parse_runtime(value: bytes | str | None) -> SwitchState:
    """The value of `quantum:kill_switch`: a JSON object whose `active` is a boolean."""
    if value is None:
        return SwitchState(True, "missing")
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        return SwitchState(True, "malformed")
    active = document.get("active") if isinstance(document, dict) else None
    if not isinstance(active, bool):
        return SwitchState(True, "malformed")
    reason = str(document.get("reason", ""))[:200]
    return SwitchState(active, f"{'on' if active else 'off'}: {reason}" if reason else "")


def dump_runtime(*, active: bool, by: str, reason: str, at: str, epoch: float) -> str:
    """`at`: the time as people read it, UTC; `epoch`: Unix seconds."""
    document = {"active": active, "by": by, "reason": reason, "at": at, "epoch": epoch}
    return json.dumps(document, separators=(",", ":"))


def read_file(path: str) -> SwitchState:
    """The kill file. Not configured (empty path) is off; missing or unreadable is on."""
    if not path:
        return SwitchState(False, "not used")
    try:
        with open(path, "rb") as file:
            text = file.read(_FILE_LIMIT)
    except OSError as error:
        return SwitchState(True, f"{path}: {os.strerror(error.errno or 0)}")
    word = text.strip(b" \n\0")
    if word == b"off":
        return SwitchState(False, "off")
    return SwitchState(True, "on" if word == b"on" else f"{path}: neither on nor off")
