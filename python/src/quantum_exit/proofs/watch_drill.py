"""A denial made on purpose, and what the watch makes of it, in its own unit.

Its alert is one like any other, but for the field `drill`: whoever delivers alerts wakes nobody
for it.
"""

from __future__ import annotations

import subprocess
import time
from typing import Any, Final, cast

import redis

from quantum_exit import keys
from quantum_exit.alerts.denials import TOLD
from quantum_exit.alerts.model import AlertType
from quantum_exit.alerts.results import Results
from quantum_exit.alerts.results import newest as newest_result
from quantum_exit.alerts.watch import STATE
from quantum_exit.proofs import checks, drill, host, observe, way
from quantum_exit.proofs.ground import NoGround, find_ground
from quantum_exit.proofs.model import Check, Outcome

WATCH_UNIT: Final = "quantum-exit-owner-watch.service"
_LOOK_TIMEOUT_S: Final = 20
_LOOKS: Final = 2
"""A look that was under way when the denial came may have been too early."""
_NAMES: Final = {
    "found": "A denial made on purpose is found",
    "told": "It is alerted once",
    "told_again": "It is not alerted again by the next look",
    "delivered": way.DELIVERED,
}


def drill_checks(bus: redis.Redis) -> tuple[Check, ...]:
    """Raises redis.RedisError."""
    if not host.has_systemd():
        return _not_tried("no systemd here, that would run the watch")
    ground = find_ground(bus)
    if isinstance(ground, NoGround):
        return _not_tried(ground.why, ground.outcome)
    newest = cast("list[Any]", bus.xrevrange(keys.ALERTS, count=1))
    since = str(newest[0][0]) if newest else "0-0"
    results = Results(bus, newest_result(bus)[0])
    denial = drill.foreign(ground.flat, time.time())
    try:
        [answer] = drill.run(bus, [denial], mark=TOLD)
    except redis.exceptions.NoPermissionError:
        return _not_tried("this Redis user may send no plan; `exitctl proof watch` as root may")
    if not answer.right:
        return _all_red(f"no denial to find: {answer.told}")
    result_id = next(entry_id for entry_id, r in results if r.get("plan_id") == denial.plan_id)
    trouble = _look_until(bus, result_id)
    first = _alerts(bus, since, denial.plan_id)
    if trouble == PermissionError.__name__:
        return _not_tried("only root starts the watch's unit")
    if trouble:
        return _all_red(trouble)
    found = _check("found", True, f"{denial.plan_id} on {ground.flat}: the watch went past it")
    told = _check(
        "told", len(first) == 1, f"{len(first)} alert(s) {AlertType.EXIT_OWNER_VIOLATION}"
    )
    trouble = look()
    again = len(_alerts(bus, since, denial.plan_id)) - len(first)
    fine = not trouble and again == 0
    told_again = _check("told_again", fine, trouble or f"{again} more after another look")
    alert_id = first[0].get("alert_id", "") if first else "none"
    return found, told, told_again, way.delivered_check(bus, alert_id)


def _check(key: str, fine: bool, told: str) -> Check:
    return Check(key, _NAMES[key], checks.outcome(fine), (told,), critical=True)


def _not_tried(why: str, outcome: Outcome = Outcome.INFO) -> tuple[Check, ...]:
    """Why positions are not known is the executor's proof to alarm for: here it warns."""
    first, *others = _NAMES
    return (
        Check(first, _NAMES[first], outcome, (why,), critical=outcome is not Outcome.FAIL),
        *(Check(key, _NAMES[key], Outcome.INFO, (why,), critical=True) for key in others),
    )


def _all_red(why: str) -> tuple[Check, ...]:
    return tuple(_check(key, False, why) for key in _NAMES)


def look() -> str:
    """One look of the watch, as its timer would start it; what went wrong, or nothing."""
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program with the name of our unit
            ["systemctl", "start", WATCH_UNIT],  # noqa: S607 - by PATH, as everywhere here
            capture_output=True, text=True, timeout=_LOOK_TIMEOUT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        return f"systemctl: {error}"
    if done.returncode == 0:
        return ""
    if "authentication" in done.stderr or "denied" in done.stderr:
        return PermissionError.__name__
    return f"{WATCH_UNIT} failed: {done.stderr.strip()[:200]}"


def _look_until(bus: redis.Redis, result_id: str) -> str:
    """Let it look until it has gone past the result."""
    cursor = "0-0"
    for _ in range(_LOOKS):
        trouble = look()
        if trouble:
            return trouble
        cursor = observe.read_hash(bus, STATE).get("cursor", "0-0")
        if drill.entry_order(cursor) >= drill.entry_order(result_id):
            return ""
    return f"it looked, and its cursor {cursor} has not reached the denial {result_id}"


def _alerts(bus: redis.Redis, since: str, plan_id: str) -> list[dict[str, str]]:
    page = cast("list[Any]", bus.xrange(keys.ALERTS, min=f"({since}"))
    return [fields for _, fields in page if plan_id in fields.get("drill", "").split(",")]
