"""The courier as a process of its own, with a receiver that can fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import redis

from quantum_exit import keys
from quantum_exit.alerts.model import AlertType, Severity, alert_fields

from ..conftest import wait_for
from .receiver import Receiver

TOKEN = "hook-token-0123456789abcdef"


class CourierProcess:
    def __init__(self, redis_url: str, state: Path, hook: str) -> None:
        self.state = state
        self.log = state.parent / "courier.log"
        self.environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "REDIS_URL": redis_url,
            "ALERTS_STATE_DIRECTORY": str(state),
            "ALERTS_HOST_NAME": "exit-1",
            "ALERTS_WEBHOOK_URL": hook,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, more: Mapping[str, str] | None = None) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "quantum_exit.courier"],
                env={**self.environ, **(more or {})},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(number)
        code = self.process.wait(20)
        self.process = None
        return code

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    one.start()
    yield one
    one.stop()


@pytest.fixture
def courier(redis_url: str, tmp_path: Path, receiver: Receiver) -> Iterator[CourierProcess]:
    """Not started yet."""
    one = CourierProcess(redis_url, tmp_path / "state", f"{receiver.url}/hook/{TOKEN}")
    one.state.mkdir()
    yield one
    one.end(signal.SIGKILL)


def raise_alert(
    client: redis.Redis,
    kind: AlertType = AlertType.UNKNOWN_OUTCOME,
    severity: Severity = Severity.CRITICAL,
    **details: object,
) -> str:
    """Returns its id."""
    fields = alert_fields(kind, severity, details, time.time())
    client.xadd(keys.ALERTS, dict(fields.items()))
    return fields["alert_id"]


def record(client: redis.Redis) -> dict[str, str]:
    found: Any = client.hgetall(keys.ALERTS_DELIVERED)
    return dict(found)


def pending(client: redis.Redis) -> int:
    found: Any = client.xpending(keys.ALERTS, keys.GROUP_ALERTS)
    return int(found["pending"])


def wait_recorded(client: redis.Redis, **fields: str) -> None:
    wait_for(
        lambda: {name: record(client).get(name) for name in fields} == fields,
        f"record {fields}",
        20,
    )
