"""The way of an alert from the stream to people."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final, cast

import redis

from quantum_exit import keys
from quantum_exit.proofs import checks, host, observe
from quantum_exit.proofs.model import Check, Figure, Outcome
from quantum_exit.values import Unknown

COURIER: Final = "alerts"
"""Its name among the heartbeats."""
CANARY_AT_MOST_S: Final = 26 * 3600.0
"""One a day, and room for a day on which clocks are changed."""
DELIVERED: Final = "Its alert is taken and settled"
_DELIVERY_WAIT_S: Final = 5.0
_POLL_S: Final = 0.05


def delivered_check(bus: redis.Redis, alert_id: str) -> Check:
    """The drill's own alert was taken, and nobody waits for it."""
    deadline = time.monotonic() + _DELIVERY_WAIT_S
    while True:
        seen = _outcome(bus, alert_id)
        if seen == "delivered" or time.monotonic() > deadline:
            break
        time.sleep(_POLL_S)
    told = f"alert {alert_id}: {seen or 'nobody has taken it'}"
    fine = seen == "delivered"
    return Check("delivered", DELIVERED, checks.outcome(fine), (told,), critical=True)


def _outcome(bus: redis.Redis, alert_id: str) -> str:
    for text in cast("list[str]", bus.lrange(keys.ALERTS_RECENT, 0, -1)):
        one = observe.load_json(text)
        if isinstance(one, dict) and one.get("alert_id") == alert_id:
            return str(one.get("outcome", ""))
    return ""


def way_check(bus: redis.Redis, now_epoch: float) -> Check:
    """The courier runs, every destination takes what it is sent, and the canary arrived."""
    name, key = "Alerts have a way out", "alerts"
    kind = str(bus.type(keys.ALERTS))
    beat = observe.read_beat(bus, COURIER, now_epoch)
    if kind not in {"stream", "none"}:
        return Check(key, name, Outcome.FAIL, (f"{keys.ALERTS} is a {kind}",), critical=True)
    if isinstance(beat, Unknown):
        outcome = Outcome.FAIL if host.has_systemd() else Outcome.INFO
        nobody = f"nobody takes alerts from their stream: {beat.why}"
        return Check(key, name, outcome, (nobody,), critical=True)
    record = observe.read_hash(bus, keys.ALERTS_DELIVERED)
    told, fine = [beat.status], beat.ready
    if not beat.fresh:
        told.append(f"its heartbeat is {beat.age_s:.0f} s old")
        fine = False
    waiting = int(record.get("waiting", "0") or 0)
    told.append(f"{waiting} alert(s) on their way")
    if record.get("destinations"):
        arrived, line = _canary(record, now_epoch - beat.started_epoch, now_epoch)
        fine = fine and arrived
        told.append(line)
    figure = Figure("alerts_waiting", waiting)
    outcome = checks.outcome(fine)
    if fine and not record.get("destinations"):  # which is no way, but was not asked for either
        outcome = Outcome.INFO
    return Check(key, name, outcome, tuple(told), critical=True, figures=(figure,))


def _canary(record: Mapping[str, Any], up_s: float, now_epoch: float) -> tuple[bool, str]:
    last_epoch = float(record.get("canary_epoch", "0") or 0)
    if not last_epoch:
        return up_s <= CANARY_AT_MOST_S, f"no canary has arrived yet, up for {up_s / 3600:.0f} h"
    age_s = now_epoch - last_epoch
    return age_s <= CANARY_AT_MOST_S, f"the last canary arrived {age_s / 3600:.0f} h ago"
