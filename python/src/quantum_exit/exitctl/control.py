"""What both sides of the kill switch share: who acts, and the trail they leave."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from quantum_exit import keys
from quantum_exit.alerts.model import AlertType, Severity, alert_fields

if TYPE_CHECKING:
    import redis  # not when the kill switch starts
    from redis.client import Pipeline

CONTROL_KEPT: Final = 100


@dataclass(frozen=True, slots=True)
class Act:
    """One act of an operator: who, why, when (Unix seconds)."""

    by: str
    reason: str
    epoch: float

    @property
    def at(self) -> str:
        """UTC, for people."""
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.epoch))


def act_now(environ: Mapping[str, str], reason: str) -> Act:
    user = environ.get("SUDO_USER") or environ.get("LOGNAME") or f"uid {os.getuid()}"
    return Act(_one_line(f"{user}@{socket.gethostname()}"), _one_line(reason), time.time())


def _one_line(text: str) -> str:
    """Bytes of another character set than UTF-8, which no message takes, become question marks."""
    return " ".join(text.encode(errors="replace").decode().split())[:500]


def trail(
    act: Act, event: AlertType, severity: Severity, details: Mapping[str, object]
) -> list[tuple[str, ...]]:
    """The Redis commands that put an act into the control list and raise its alert."""
    told = {"by": act.by, "reason": act.reason, **details}
    fields = alert_fields(event, severity, told, act.epoch)
    flat = [part for pair in fields.items() for part in pair]
    return [*entry(act, str(event), details), ("XADD", keys.ALERTS, "*", *flat)]


def entry(act: Act, event: str, details: Mapping[str, object]) -> list[tuple[str, ...]]:
    """The commands that put an act into the control list alone."""
    said = {"event": event, "by": act.by, "reason": act.reason, "at": act.at, "epoch": act.epoch}
    document = json.dumps({**said, **details}, default=str, ensure_ascii=False)
    return [
        ("LPUSH", keys.EXITBRAIN_CONTROL, document),
        ("LTRIM", keys.EXITBRAIN_CONTROL, "0", str(CONTROL_KEPT - 1)),
    ]


def perform(client: redis.Redis, commands: Sequence[tuple[str, ...]]) -> None:
    """All of them in one transaction. Raises redis.RedisError."""
    with client.pipeline(transaction=True) as pipe:
        enqueue(pipe, commands)
        pipe.execute()


def enqueue(pipe: Pipeline, commands: Sequence[tuple[str, ...]]) -> None:
    for command in commands:
        pipe.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py's own gap
