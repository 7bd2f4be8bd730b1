"""How an alert reads to a person on a phone at night. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from quantum_exit.courier.taken import Taken

_SIGNS: Final = {"CRITICAL": "🔴", "WARNING": "🟠", "INFO": "🔵"}
_MOST_OF_A_VALUE: Final = 300
_CUT: Final = "… (cut: exitctl audit, or the alerts' stream, has all of it)"
HARMLESS: Final = "an alert whose text was refused here; see the alerts' stream"
"""Goes out in place of a text that a receiver does not take, so that it holds up nothing."""


def title(alert: Taken, host: str) -> str:
    """One line: how bad, what, where."""
    named = [
        str(alert.details[name])
        for name in ("symbol", "service", "unit", "timer", "proof")
        if name in alert.details
    ]
    about = f" {_line(' '.join(named))}" if named else ""
    return f"{_SIGNS.get(alert.severity, '')} {alert.severity} {alert.type}{about} on {host}"


def body(alert: Taken) -> str:
    """A line for each detail, then when it was raised and its id."""
    lines = [f"{_line(name)}: {_shown(value)}" for name, value in alert.details.items()]
    lines += [f"{_line(name)}: {_shown(value)}" for name, value in alert.extra.items()]
    return "\n".join([*lines, f"raised: {_when(alert.raised_epoch)}", f"id: {alert.alert_id}"])


def digest_title(alerts: Sequence[Taken], host: str) -> str:
    worst = min(alerts, key=lambda alert: list(_SIGNS).index(alert.severity)).severity
    return f"{_SIGNS[worst]} {len(alerts)} alerts on {host}, oldest first"


def digest_line(alert: Taken) -> str:
    """For when many have piled up: an alert a line, its first details behind it."""
    told = ", ".join(f"{name} {_shown(value)}" for name, value in list(alert.details.items())[:4])
    when = datetime.fromtimestamp(alert.raised_epoch, UTC).strftime("%H:%M:%S")
    return f"{when} {_SIGNS.get(alert.severity, '')} {alert.type} {told}"[:240]


def cut(text: str, most: int) -> str:
    """No longer than `most` characters, and saying so."""
    return text if len(text) <= most else text[: most - len(_CUT)] + _CUT


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return _line(text)[:_MOST_OF_A_VALUE]


def _line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _when(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
