"""What an alert is: types, severities, and the fields it has on the stream.

Standard library only: the kill switch raises an alert and must start fast.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

MAX_DETAILS: Final = 16_000
"""Characters of JSON. What is longer is cut to a note, so that one alert cannot fill a stream."""


class Severity(StrEnum):
    INFO = "INFO"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"


class AlertType(StrEnum):
    EXIT_OWNER_VIOLATION = "EXIT_OWNER_VIOLATION"
    UNAUTHORIZED_POSITION_CHANGE = "UNAUTHORIZED_POSITION_CHANGE"
    UNPROTECTED_POSITION = "UNPROTECTED_POSITION"
    KILL_SWITCH_ENGAGED = "KILL_SWITCH_ENGAGED"
    KILL_SWITCH_RELEASED = "KILL_SWITCH_RELEASED"
    MODE_CHANGED = "MODE_CHANGED"
    PROOF_FAILED = "PROOF_FAILED"
    SERVICE_FAILED = "SERVICE_FAILED"
    LAYER_DOWN = "LAYER_DOWN"
    CREDENTIALS_REJECTED = "CREDENTIALS_REJECTED"
    MANUAL_LANE_ENABLED = "MANUAL_LANE_ENABLED"
    DELEGATION_GRANTED = "DELEGATION_GRANTED"
    POLICY_STALE = "POLICY_STALE"
    RECONCILE_HOLD = "RECONCILE_HOLD"
    UNKNOWN_OUTCOME = "UNKNOWN_OUTCOME"
    CANARY = "CANARY"
    """Nothing is wrong: it proves the way of the others."""


def alert_fields(
    alert_type: AlertType,
    severity: Severity,
    details: Mapping[str, object],
    now_epoch: float,
    extra: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The fields of one stream entry. `now_epoch`: Unix seconds; `extra`: top-level fields.

    Values of `details` that JSON does not know (Decimal, enums) become their text.
    """
    text = json.dumps(dict(details), default=str, ensure_ascii=False, separators=(",", ":"))
    if len(text) > MAX_DETAILS:
        text = json.dumps({"cut": True, "begins": text[: MAX_DETAILS // 2]}, ensure_ascii=False)
    return {
        "alert_type": str(alert_type),
        "severity": str(severity),
        "timestamp": f"{now_epoch:.6f}",
        "alert_id": os.urandom(16).hex(),
        "details": text,
        **(extra or {}),
    }
