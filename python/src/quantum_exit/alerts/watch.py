"""`python -m quantum_exit.alerts.watch`: one look, by a timer, at what should not be there.

Denied exits since the last look, layers that do not run, services that were started again, a
policy that ran out, timers that do not fire. The cursor moves only after the alerts are told, so
none is missed, whenever this process dies.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

import redis

from quantum_exit import keys
from quantum_exit.alerts.denials import Denials, collect, drill_alert_id
from quantum_exit.alerts.model import AlertType, Severity, alert_fields
from quantum_exit.alerts.restarts import TELLING_S, UNITS, Restarts, restarts
from quantum_exit.alerts.results import Results, newest
from quantum_exit.bus.connection import connect
from quantum_exit.bus.trimming import trim
from quantum_exit.policy.reader import ValidPolicy, parse_policy
from quantum_exit.proofs import host, observe
from quantum_exit.settings import redis_url, run_service
from quantum_exit.values import Unknown, format_epoch

STATE: Final = "quantum:watch:state"
"""Hash: `cursor` (id of the last result looked at), `entries_added`, `ts_epoch`, `runs`,
`deny_total`, `drill_total`, `next_id` (of the alert about what comes after the cursor), for
each standing trouble `told:<name>`, when it was last told, and `started:<unit>` (`restarts`)."""
TELL_AGAIN_S: Final = 3600.0
"""A trouble that stands is told once an hour."""
TIMERS: Final[Mapping[str, float]] = {
    "exitbrain-proof.timer": 1800.0,
    "quantum-policy-refresh.timer": 5400.0,
}
"""Our other timers, and how long one may not have fired."""
REDIS_MAY_START_S: Final = 10.0
_ALERTS_READ: Final = 5000
"""At most, in one look; behind a storm of them a service may be told of twice."""
_TOLD: Final = "told:"
_LAYERS: Final = {
    "exitbrain": "layer 3 and the owner",
    "apply_layer": "layer 1",
    "position_state": "permits (P3.3)",
    "intent_executor": "layer 2",
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that stands, and is told again only after a while."""

    name: str
    type: AlertType
    severity: Severity
    details: Mapping[str, object]


@dataclass(slots=True)
class Look:
    """What one look found. `window_s`: since the last look; None at the first."""

    denials: Denials
    cursor: str
    entries_added: int
    """How many entries of the results' stream's life are accounted for."""
    window_s: float | None
    troubles: list[Trouble] = field(default_factory=list)
    restarts: Restarts = field(default_factory=Restarts)


def look(bus: redis.Redis, state: Mapping[str, str], now_epoch: float) -> Look:
    """Reads only. Raises redis.RedisError."""
    cursor, added_before = state.get("cursor", "0-0"), int(state.get("entries_added", "0"))
    last_id, added = newest(bus)
    lost = ""
    if _order(last_id) < _order(cursor):
        cursor, added_before = "0-0", 0
        lost = "the results' stream was made anew; read from its beginning"
    elif added < added_before:  # and went on past the cursor: what was in between is not known
        added_before = 0
        lost = "the results' stream was made anew; what it held since the last look is gone"
    results = Results(bus, cursor)
    denials = collect(results, lambda plan_id: _drill_mark(bus, plan_id))
    accounted = added_before + results.read  # some of them younger than `added`
    missed = added - accounted
    if missed > 0 and "entries_added" in state:
        lost = f"{missed} result(s) were deleted before this look"
    troubles = _layers(bus, now_epoch) + _policy(bus, now_epoch) + _timers()
    if lost:
        kind, severity = AlertType.LAYER_DOWN, Severity.WARNING
        troubles.append(Trouble("results_lost", kind, severity, {"what": lost}))
    before = state.get("ts_epoch")
    window_s = now_epoch - float(before) if before else None
    again = _restarts(bus, state, float(before) if before else now_epoch)
    return Look(denials, results.cursor, max(added, accounted), window_s, troubles, again)


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)


def _drill_mark(bus: redis.Redis, plan_id: str) -> str:
    """Only the operator's user may write these keys, so a producer cannot pass for a drill."""
    return (observe.read_text(bus, keys.drill(plan_id)) or "") if plan_id else ""


def _layers(bus: redis.Redis, now_epoch: float) -> list[Trouble]:
    troubles = []
    for service, beat in observe.read_beats(bus, now_epoch).items():
        why = ""
        if isinstance(beat, Unknown):
            why = beat.why
        elif not beat.fresh:
            why = f"its heartbeat is {beat.age_s:.0f} s old"
        elif not beat.ready:
            why = f"not ready: {beat.status}"
        if why:
            details = {"service": service, "layer": _LAYERS[service], "why": why}
            troubles.append(
                Trouble(f"layer:{service}", AlertType.LAYER_DOWN, Severity.CRITICAL, details)
            )
    return troubles


def _policy(bus: redis.Redis, now_epoch: float) -> list[Trouble]:
    policy = parse_policy(observe.read_hash(bus, keys.POLICY_CURRENT), now_epoch)
    if isinstance(policy, ValidPolicy):
        return []
    why = policy.why if isinstance(policy, Unknown) else f"ran out {policy.expired_for_s:.0f} s ago"
    details = {"why": why, "effect": "nothing opens; exits go on"}
    return [Trouble("policy", AlertType.POLICY_STALE, Severity.WARNING, details)]


def _timers() -> list[Trouble]:
    """A timer that stops firing cannot say so itself."""
    if not host.has_systemd():
        return []
    states = host.read_units(TIMERS)
    if isinstance(states, Unknown):
        details = {"timer": "all", "why": f"they cannot be looked at: {states.why}"}
        return [Trouble("timers", AlertType.LAYER_DOWN, Severity.WARNING, details)]
    troubles = []
    for unit, patience_s in TIMERS.items():
        why = silent_timer(states[unit], patience_s)
        if why:
            details = {"timer": unit, "why": why}
            troubles.append(
                Trouble(f"timer:{unit}", AlertType.LAYER_DOWN, Severity.WARNING, details)
            )
    return troubles


def _restarts(bus: redis.Redis, state: Mapping[str, str], since_epoch: float) -> Restarts:
    units = host.read_units(UNITS) if host.has_systemd() else None
    if not isinstance(units, dict):
        return Restarts()  # where it does not answer, that is told of the timers
    after = f"{int((since_epoch - TELLING_S) * 1000)}"
    told = set()
    for _, fields in cast("list[Any]", bus.xrange(keys.ALERTS, min=after, count=_ALERTS_READ)):
        details = observe.load_json(fields.get("details"))
        # Our own were about what came before them.
        if fields.get("alert_type") == AlertType.SERVICE_FAILED and isinstance(details, dict):
            told |= {str(details.get("unit"))} if "restarts" not in details else set()
    return restarts(state, units.values(), told)


def silent_timer(state: host.UnitState, patience_s: float) -> str:
    """Why a timer counts as silent; empty when it fires as it should."""
    if not state.installed:
        return "not installed"
    if state.active != "active":
        return f"{state.active}, so it never fires"
    ago_s = state.triggered_ago_s
    if ago_s is None:
        ago_s = state.active_for_s or 0.0
    return f"last fired {ago_s:.0f} s ago" if ago_s > patience_s else ""


def record(
    bus: redis.Redis, state: Mapping[str, str], found: Look, now_epoch: float
) -> list[AlertType]:
    """The alerts, and only once they are told the cursor: a look that dies between the two is
    told again, under the same `alert_id`. That is one that nobody can guess: whoever sends an
    alert under it before would be taken for us. Returns what was told; raises redis.RedisError."""
    next_id = state.get("next_id", "")
    if not next_id:
        next_id = os.urandom(16).hex()
        bus.hset(STATE, "next_id", next_id)
    alerts = _alerts(state, found, next_id, now_epoch)
    standing = {_TOLD + trouble.name for trouble in found.troubles}
    over = [name for name in state if name.startswith(_TOLD) and name not in standing]
    told = {_TOLD + name: format_epoch(now_epoch) for _, name, _ in alerts if name}
    if alerts:
        pipe: Any = bus.pipeline(transaction=True)
        for _, _, fields in alerts:
            pipe.xadd(keys.ALERTS, fields)
        pipe.execute()
    pipe = bus.pipeline(transaction=True)
    if over:
        pipe.hdel(STATE, *over)
    seen = {"cursor": found.cursor, "entries_added": str(found.entries_added)}
    if found.denials.count:
        seen["next_id"] = os.urandom(16).hex()
    seen |= found.restarts.seen
    pipe.hset(STATE, mapping={**seen, "ts_epoch": format_epoch(now_epoch), **told})
    pipe.hincrby(STATE, "runs", 1)
    pipe.hincrby(STATE, "deny_total", found.denials.count)
    pipe.hincrby(STATE, "drill_total", found.denials.drills)
    pipe.execute()
    return [kind for kind, _, _ in alerts]


def _alerts(
    state: Mapping[str, str], found: Look, next_id: str, now_epoch: float
) -> list[tuple[AlertType, str, dict[str, str]]]:
    """Each with the name under which it is remembered; denials are told every time."""
    alerts: list[tuple[AlertType, str, dict[str, str]]] = []
    denials = found.denials
    if denials.count:
        window = "since the first result" if found.window_s is None else f"{found.window_s:.0f} s"
        kind = AlertType.EXIT_OWNER_VIOLATION
        extra = {
            "deny_count": str(denials.count),
            "window": window,
            "alert_id": next_id,
        }
        details = {"window": window, **denials.details()}
        fields = alert_fields(kind, Severity.CRITICAL, details, now_epoch, extra)
        alerts.append((kind, "", fields))
    if denials.told_drills:
        alerts.append((AlertType.EXIT_OWNER_VIOLATION, "", _drill_alert(denials, now_epoch)))
    for unit, times in found.restarts.times.items():
        details = {
            "unit": unit,
            "why": "it ended by itself, and systemd started it again",
            "restarts": times,
            "mend": f"systemctl status {unit}; journalctl -u {unit} -n 50",
        }
        kind = AlertType.SERVICE_FAILED
        fields = alert_fields(kind, Severity.CRITICAL, details, now_epoch)
        alerts.append((kind, "", fields))
    for trouble in found.troubles:
        before = state.get(_TOLD + trouble.name)
        if before is None or now_epoch - float(before) >= TELL_AGAIN_S:
            fields = alert_fields(trouble.type, trouble.severity, trouble.details, now_epoch)
            alerts.append((trouble.type, trouble.name, fields))
    return alerts


def _drill_alert(denials: Denials, now_epoch: float) -> dict[str, str]:
    """An alert like any other on its way, except that it says what it is: `drill` names the
    plans, and whoever delivers alerts settles it without waking anybody."""
    plans = ",".join(sorted(denials.told_drills))
    details = {"drill": True, "plans": sorted(denials.told_drills)[:20]}
    extra = {
        "deny_count": str(len(denials.told_drills)),
        "window": "drill",
        "drill": plans,
        "alert_id": drill_alert_id(plans),
    }
    kind = AlertType.EXIT_OWNER_VIOLATION
    return alert_fields(kind, Severity.INFO, details, now_epoch, extra)


def _wait_for_answers(bus: redis.Redis) -> None:
    """Redis may be starting again just now, by a deployment say: that alone is no failure."""
    deadline = time.monotonic() + REDIS_MAY_START_S
    while True:
        try:
            bus.ping()
            return
        except (redis.ConnectionError, redis.TimeoutError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def main(environ: Mapping[str, str]) -> int:
    """0 when it looked and could tell; 1 when it could not: then the unit fails, and that
    failure is the alert."""
    try:
        bus = connect(redis_url(environ), decode=True, name="exit_owner_watch")
        _wait_for_answers(bus)
        state = observe.read_hash(bus, STATE)
        now_epoch = time.time()
        found = look(bus, state, now_epoch)
        told = record(bus, state, found, now_epoch)
        trim(bus, keys.ALERTS)
    except redis.RedisError as error:
        print(f"watch: Redis: {error}; nothing was looked at", file=sys.stderr)
        return 1
    standing = ", ".join(trouble.name for trouble in found.troubles) or "none"
    print(
        f"watch: {found.denials.count} denial(s), {found.denials.drills} of drills, "
        f"standing troubles: {standing}; told {len(told)} alert(s)"
    )
    return 0


if __name__ == "__main__":
    run_service(main)
