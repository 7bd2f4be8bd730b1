"""Which alerts say again what was just said. Pure.

A standing trouble is raised again and again by whoever sees it. Within a window it is sent once;
when the window closes, how often it came back is sent too, so nothing is silent. A change of
state (a switch, a mode, a delegation) is never a repeat: off, on and off again are three events.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any, Final

from quantum_exit.alerts.model import AlertType
from quantum_exit.courier.taken import Taken

_STANDING: Final = frozenset(
    {
        AlertType.EXIT_OWNER_VIOLATION,
        AlertType.UNPROTECTED_POSITION,
        AlertType.PROOF_FAILED,
        AlertType.SERVICE_FAILED,
        AlertType.LAYER_DOWN,
        AlertType.CREDENTIALS_REJECTED,
        AlertType.POLICY_STALE,
        AlertType.RECONCILE_HOLD,
    }
)
_NAMES_IT: Final = ("service", "symbol", "unit", "timer", "proof")
_NEVER_THE_SAME: Final = frozenset({"samples", "evidence", "intent_id", "plan_id", "invocation"})
_NUMBER: Final = re.compile(r"\d+(\.\d+)?")


def subject(alert: Taken) -> str | None:
    """What it is about; None for what is never a repeat."""
    if alert.type not in _STANDING or alert.is_drill:
        return None  # a drill must never make a repeat of what is meant
    named = (f"{name}={alert.details[name]}" for name in _NAMES_IT if name in alert.details)
    return "|".join((alert.type, *named))


def fingerprint(alert: Taken) -> str:
    """What it says, without the figures that are never the same twice. A repeat says of its
    subject what was said of it last: "down, up, down" are three."""
    told = {name: value for name, value in alert.details.items() if name not in _NEVER_THE_SAME}
    text = json.dumps([alert.severity, told], sort_keys=True, default=str, ensure_ascii=False)
    return _NUMBER.sub("#", text)


def summary(last: Taken, repeats: int, since_epoch: float, now_epoch: float) -> Taken:
    """What closes a window: the last of the repeats, and how many there were."""
    details: dict[str, Any] = {
        "repeated": repeats,
        "within_s": round(now_epoch - since_epoch),
        **last.details,
    }
    return replace(last, alert_id=f"{last.alert_id[:100]}-repeats", details=details, stream_id="")
