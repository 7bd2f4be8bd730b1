"""One alert as it was taken from the stream, and how it reads to machines. Pure.

Nothing here refuses an alert: what is malformed is told as it is, because somebody meant it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from quantum_exit.alerts.model import AlertType, Severity

_KNOWN: Final = frozenset({"alert_type", "severity", "timestamp", "alert_id", "details"})
_MOST_OF_A_WORD: Final = 64
_MOST_OF_AN_ID: Final = 128
_DEEPEST: Final = 20


@dataclass(frozen=True, slots=True)
class Taken:
    """`stream_id` is empty for what never was on the stream; `extra`: further top-level fields."""

    alert_id: str
    stream_id: str
    type: str
    severity: str
    raised_epoch: float
    details: Mapping[str, Any]
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_canary(self) -> bool:
        return self.type == AlertType.CANARY

    @property
    def is_drill(self) -> bool:
        """Made by a proof, to see that alerts are taken: it wakes nobody."""
        return bool(self.extra.get("drill"))

    @property
    def drill_plans(self) -> list[str]:
        """Ids of the plans that a drill is of: for each of them a proof has to vouch."""
        return self.extra.get("drill", "").split(",") if self.is_drill else []

    def without_drill(self) -> Taken:
        """Told like any other: whoever writes alerts could call them drills."""
        extra = {name: value for name, value in self.extra.items() if name != "drill"}
        return replace(self, extra={**extra, "claimed_drill": self.extra.get("drill", "")[:200]})

    def document(self, host: str) -> dict[str, Any]:
        """As the plain webhook gets it, and the log: what it brought along stands in for nothing
        of ours, such as the host."""
        return {
            **self.extra,
            "alert_id": self.alert_id,
            "alert_type": self.type,
            "severity": self.severity,
            "timestamp": self.raised_epoch,
            "host": host,
            "details": dict(self.details),
        }

    def dump(self) -> str:
        kept = {
            "alert_id": self.alert_id,
            "stream_id": self.stream_id,
            "type": self.type,
            "severity": self.severity,
            "raised_epoch": self.raised_epoch,
            "details": dict(self.details),
            "extra": dict(self.extra),
        }
        return json.dumps(kept, ensure_ascii=False, separators=(",", ":"))


def load(text: str) -> Taken:
    """What `dump` wrote. Raises ValueError or TypeError for anything else."""
    return Taken(**json.loads(text))


def from_fields(fields: Mapping[str, str], stream_id: str, now_epoch: float) -> Taken:
    """`fields`: of an entry of the alerts' stream, or of a file in the drop directory."""
    kind = _word(fields.get("alert_type", "")) or "UNNAMED"
    severity = _word(fields.get("severity", "")).upper()
    if severity not in set(Severity):
        severity = Severity.CRITICAL.value  # who cannot say how bad it is may mean the worst
    try:
        raised = float(fields.get("timestamp", ""))
    except ValueError:
        raised = now_epoch
    extra = {name: value for name, value in fields.items() if name not in _KNOWN}
    return Taken(
        alert_id=fields.get("alert_id", "")[:_MOST_OF_AN_ID] or _made_up_id(fields, stream_id),
        stream_id=stream_id,
        type=kind,
        severity=severity,
        raised_epoch=raised if 0 <= raised < 1e11 else now_epoch,
        details=_details(fields.get("details", "")),
        extra=extra,
    )


def decode_fields(raw: Mapping[bytes, bytes]) -> dict[str, str]:
    return {
        name.decode(errors="replace"): value.decode(errors="replace") for name, value in raw.items()
    }


def _details(text: str) -> dict[str, Any]:
    if not text:
        return {}
    try:
        value = json.loads(text)
        # JSON can spell half a character and a number beyond all, which neither the disk nor a
        # receiver takes.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) and not _is_deep(value) else {"text": text}


def _is_deep(value: Any) -> bool:
    """Beyond what anybody means, and soon beyond what we could walk through ourselves."""
    level = [value]
    for _ in range(_DEEPEST):
        inner = [one.values() if isinstance(one, dict) else one for one in level]
        level = [one for each in inner for one in each if isinstance(one, (dict, list))]
        if not level:
            return False
    return True


def _made_up_id(fields: Mapping[str, str], stream_id: str) -> str:
    """The same entry read twice is one alert, with an id of its own or without."""
    content = json.dumps([stream_id, sorted(fields.items())])
    return hashlib.sha256(content.encode(errors="replace")).hexdigest()[:32]


def _word(text: str) -> str:
    return "".join(c for c in text if c.isalnum() or c in "_-")[:_MOST_OF_A_WORD]
