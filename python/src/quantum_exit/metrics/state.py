"""From what lies in Redis to the values of the metrics. Pure; the reading is done elsewhere.

What is missing or malformed has no value: a gap on a graph is true, a zero is a claim. Only the
kill switch is on when it cannot be read, as it is for those who ask before they send.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from quantum_exit import kill_switch
from quantum_exit.bus.heartbeat import STALE_AFTER_S
from quantum_exit.proofs.model import Verdict

Sample = tuple[str, tuple[str, ...], float]
"""Name, values of the labels, value."""
MODES: Final = ("LIVE", "SHADOW", "KILLED")
_DECISION: Final = "decision_"
_REFUSED: Final = "refused_"
_NOT_OUTCOMES: Final = frozenset({"processed", "executed_true", "executed_false"})


@dataclass(frozen=True, slots=True)
class Seen:
    """One look. Hashes by what they are; absent ones are empty."""

    beats: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    switch: str | None = None
    env_kill: str | None = None
    file_active: bool | None = None
    """None: there is no such place here."""
    executor: Mapping[str, str] = field(default_factory=dict)
    permits: Mapping[str, str] = field(default_factory=dict)
    verdicts: Mapping[str, str] = field(default_factory=dict)
    watch: Mapping[str, str] = field(default_factory=dict)
    policy: Mapping[str, str] = field(default_factory=dict)
    alerts: Mapping[str, str] = field(default_factory=dict)
    open_orders: int | None = None
    lengths: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)


def gauges(seen: Seen, now_epoch: float) -> Iterator[Sample]:
    yield from _beats(seen, now_epoch)
    yield from _switch(seen)
    yield from _brain(seen.beats.get("exitbrain", {}), now_epoch)
    yield from _streams(seen)
    until = _number(seen.policy.get("valid_until_epoch"))
    if until is not None:
        yield "quantum_policy_valid_seconds", (), until - now_epoch
    yield from _proofs(seen.verdicts, now_epoch)
    yield from _alerts(seen.alerts, now_epoch)


def counters(seen: Seen) -> Iterator[Sample]:
    for name, text in seen.executor.items():
        count = _number(text)
        if count is None:
            continue
        if name.startswith(_DECISION):
            yield "quantum_plans", (name.removeprefix(_DECISION),), count
        elif name not in _NOT_OUTCOMES:
            yield "quantum_gate_outcomes", (name,), count
    yield "quantum_exit_owner_denied", (), _number(seen.executor.get("exit_owner_denied")) or 0.0
    denials = _number(seen.watch.get("deny_total"))
    if denials is not None:
        yield "quantum_watch_denials", (), denials
    for name, text in seen.permits.items():
        count = _number(text)
        if count is None:
            continue
        if name.startswith(_REFUSED):
            yield "quantum_permit_refusals", (name.removeprefix(_REFUSED),), count
        else:
            yield "quantum_permits", (name,), count
    total = _number(seen.beats.get("exitbrain", {}).get("unprotected_total_s"))
    if total is not None:
        yield "quantum_unprotected", (), total
    repeats = _number(seen.alerts.get("repeats"))
    if repeats is not None:
        yield "quantum_alert_repeats", (), repeats


def _beats(seen: Seen, now_epoch: float) -> Iterator[Sample]:
    for service, beat in seen.beats.items():
        at = _number(beat.get("ts_epoch"))
        fresh = at is not None and abs(now_epoch - at) <= STALE_AFTER_S
        ready = fresh and beat.get("ready") == "true"
        yield "quantum_ready", (service,), float(ready)
        if at is not None:
            yield "quantum_heartbeat_age_seconds", (service,), now_epoch - at


def _switch(seen: Seen) -> Iterator[Sample]:
    name = "quantum_kill_switch_active"
    yield name, ("redis",), float(kill_switch.parse_runtime(seen.switch).active)
    yield name, ("env",), float(seen.env_kill not in (None, "false"))
    if seen.file_active is not None:
        yield name, ("file",), float(seen.file_active)


def _brain(beat: Mapping[str, str], now_epoch: float) -> Iterator[Sample]:
    mode = beat.get("mode")
    if mode is not None:
        for each in MODES:
            yield "quantum_mode", (each,), float(mode == each)
    cycle = _number(beat.get("cycle_epoch"))
    if cycle is not None:
        yield "quantum_brain_cycle_age_seconds", (), now_epoch - cycle
    for name, source in (
        ("quantum_positions", "positions"),
        ("quantum_unprotected_seconds", "unprotected_now_s"),
    ):
        value = _number(beat.get(source))
        if value is not None:
            yield name, (), value
    if "exchange_stops_missing" in beat:
        missing = [symbol for symbol in beat["exchange_stops_missing"].split(",") if symbol]
        yield "quantum_exchange_stops_missing", (), float(len(missing))


def _streams(seen: Seen) -> Iterator[Sample]:
    if seen.open_orders is not None:
        yield "quantum_orders_open", (), float(seen.open_orders)
    for stream, length in seen.lengths.items():
        yield "quantum_stream_entries", (stream,), float(length)
    for stream, groups in seen.groups.items():
        for group in groups:
            labels = (stream, str(group["name"]))
            yield "quantum_stream_pending", labels, float(group["pending"])
            if group.get("lag") is not None:  # Redis does not always know
                yield "quantum_stream_unread", labels, float(group["lag"])


def _proofs(verdicts: Mapping[str, str], now_epoch: float) -> Iterator[Sample]:
    for proof, text in verdicts.items():
        try:
            document = json.loads(text)
            code = float(Verdict(document["verdict"]).exit_code)
            age_s = now_epoch - float(document["ts_epoch"])
        except (ValueError, KeyError, TypeError):
            continue
        yield "quantum_proof_verdict", (proof,), code
        yield "quantum_proof_age_seconds", (proof,), age_s


def _alerts(record: Mapping[str, str], now_epoch: float) -> Iterator[Sample]:
    for name, text in record.items():
        destination, _, what = name.partition(":")
        if what == "waiting":
            yield "quantum_alerts_waiting", (destination,), _number(text) or 0.0
        elif what == "trouble":
            yield "quantum_alerts_trouble", (destination,), float(bool(text))
    canary = _number(record.get("canary_epoch"))
    if canary:
        yield "quantum_alerts_canary_age_seconds", (), now_epoch - canary


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if value == value and abs(value) != float("inf") else None
