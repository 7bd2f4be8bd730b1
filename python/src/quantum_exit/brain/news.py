"""The brain's alerts, as they read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from quantum_exit.alerts.model import AlertType, Severity
from quantum_exit.brain.asking import Failure
from quantum_exit.brain.engine import Mode
from quantum_exit.brain.protection import Gap
from quantum_exit.brain.stops import SymbolStops
from quantum_exit.brain.switches import CurrentMode
from quantum_exit.brain.watch import Unexplained
from quantum_exit.values import format_number


@dataclass(frozen=True, slots=True)
class Alert:
    type: AlertType
    severity: Severity
    details: Mapping[str, object]


def gap_alert(gap: Gap, *, unread: bool = False) -> Alert:
    """`unread`: it is the exchange's answer for this symbol that cannot be read."""
    severity = Severity.WARNING if gap.ended else Severity.CRITICAL
    details = {
        "symbol": gap.symbol,
        "seconds": round(gap.seconds, 1),
        "ended": gap.ended,
        "why": "its row in the exchange's answer cannot be read"
        if unread
        else "no working stop in the brain",
    }
    return Alert(AlertType.UNPROTECTED_POSITION, severity, details)


def failure_alert(failure: Failure) -> Alert:
    ask = failure.ask
    details = {
        "symbol": failure.symbol,
        "why": "an exit is asked for and not carried out",
        "intent_id": ask.intent_id,
        "attempts": ask.failures,
        "last_error": ask.error,
    }
    return Alert(AlertType.UNPROTECTED_POSITION, Severity.CRITICAL, details)


def unexplained_alert(change: Unexplained) -> Alert:
    details = {
        "symbol": change.symbol,
        "before": format_number(change.before),
        "after": format_number(change.after),
        "expected": format_number(change.expected),
        "why": "no result of ours explains the change",
    }
    return Alert(AlertType.UNAUTHORIZED_POSITION_CHANGE, Severity.CRITICAL, details)


def stop_alert(symbol: str, stops: SymbolStops) -> Alert:
    details = {
        "symbol": symbol,
        "why": "the protective stop on the exchange cannot be placed",
        "attempts": stops.failures,
        "last_error": stops.error,
    }
    return Alert(AlertType.UNPROTECTED_POSITION, Severity.WARNING, details)


def policy_alert(trouble: str) -> Alert:
    details = {"service": "exitbrain", "why": trouble}
    return Alert(AlertType.POLICY_STALE, Severity.WARNING, details)


def mode_alert(before: str, after: CurrentMode) -> Alert:
    details = {"from": before, "to": after.mode.value, "why": after.why}
    severity = Severity.INFO if after.mode is Mode.LIVE else Severity.WARNING
    return Alert(AlertType.MODE_CHANGED, severity, details)
