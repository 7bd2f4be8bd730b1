"""The proof of the watch: that somebody looks, lately, and can be heard."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final, cast

import redis

from quantum_exit import keys
from quantum_exit.alerts.watch import STATE, TIMERS, silent_timer
from quantum_exit.policy.reader import ValidPolicy, parse_policy
from quantum_exit.proofs import checks, host, observe
from quantum_exit.proofs.model import Check, Expect, Outcome, Proof
from quantum_exit.values import Unknown

TITLE: Final = "WATCH PROOF"
LOOKED_AT_MOST_S: Final = 660.0
"""Twice its five minutes, and a minute for a slow boot."""
WATCH_TIMER: Final = "quantum-exit-owner-watch.timer"


def run(bus: redis.Redis, environ: Mapping[str, str], expect: Expect) -> Proof:
    """Raises redis.RedisError when Redis is gone."""
    del environ, expect
    began = time.time()
    state = observe.read_hash(bus, STATE)
    tests = (
        looked_check(state, began),
        cursor_check(bus, state),
        alerts_check(bus),
        policy_check(bus, began),
        *timer_checks(),
    )
    return Proof("watch", TITLE, began, tests)


def looked_check(state: Mapping[str, str], now_epoch: float) -> Check:
    name, key = "The watch looked lately", "looked"
    try:
        age_s = now_epoch - float(state["ts_epoch"])
    except (KeyError, ValueError):
        return Check(key, name, Outcome.FAIL, ("it never looked",), critical=True)
    runs, denied = state.get("runs", "?"), state.get("deny_total", "?")
    told = f"{age_s:.0f} s ago; {runs} look(s) and {denied} denial(s) so far"
    fine = -10 < age_s <= LOOKED_AT_MOST_S
    return Check(key, name, checks.outcome(fine), (told,), critical=True)


def cursor_check(bus: redis.Redis, state: Mapping[str, str]) -> Check:
    """Nothing that was there at the last look lies behind the cursor unseen."""
    name, key = "It has seen every result up to its last look", "cursor"
    cursor, looked = state.get("cursor", ""), state.get("ts_epoch", "")
    if not cursor or not looked:
        return Check(key, name, Outcome.FAIL, ("it has no cursor",), critical=True)
    until = f"{int(float(looked) * 1000) - 1000}"
    try:
        unseen = cast(
            "list[Any]", bus.xrange(keys.APPLY_RESULT, min=f"({cursor}", max=until, count=10)
        )
    except redis.ResponseError as error:
        # A cursor ahead of the look's own time makes an empty range that Redis refuses.
        return Check(key, name, Outcome.FAIL, (f"cursor {cursor}: {error}",), critical=True)
    told = f"cursor {cursor}; unseen: {len(unseen)}"
    return Check(key, name, checks.outcome(not unseen), (told,), critical=True)


def alerts_check(bus: redis.Redis) -> Check:
    """The way of an alert: the stream is one, and this user could write to it."""
    name, key = "Alerts have a way out", "alerts"
    kind = str(bus.type(keys.ALERTS))
    if kind not in {"stream", "none"}:
        return Check(key, name, Outcome.FAIL, (f"{keys.ALERTS} is a {kind}",), critical=True)
    newest = cast("list[Any]", bus.xrevrange(keys.ALERTS, count=1))
    told = f"newest: {newest[0][1].get('alert_type')}" if newest else "no alert yet"
    return Check(key, name, Outcome.PASS, (told,), critical=True)


def policy_check(bus: redis.Redis, now_epoch: float) -> Check:
    name, key = "The policy is refreshed", "policy"
    policy = parse_policy(observe.read_hash(bus, keys.POLICY_CURRENT), now_epoch)
    if isinstance(policy, ValidPolicy):
        left_s = policy.view.valid_until_epoch - now_epoch
        told = f"version {policy.view.version}, valid for {left_s:.0f} s"
        return Check(key, name, Outcome.PASS, (told,))
    why = policy.why if isinstance(policy, Unknown) else f"ran out {policy.expired_for_s:.0f} s ago"
    return Check(key, name, Outcome.FAIL, (why,))


def timer_checks() -> tuple[Check, ...]:
    """One for each timer of ours; without systemd there are none to look at."""
    timers = {WATCH_TIMER: LOOKED_AT_MOST_S, **TIMERS}
    if not host.has_systemd():
        told = ("no systemd here",)
        return tuple(Check(f"timer:{unit}", f"{unit} fires", Outcome.INFO, told) for unit in timers)
    states = host.read_units(timers)
    if isinstance(states, Unknown):
        told = (states.why,)
        return tuple(Check(f"timer:{unit}", f"{unit} fires", Outcome.FAIL, told) for unit in timers)
    return tuple(
        _timer_check(unit, silent_timer(states[unit], patience_s), states[unit])
        for unit, patience_s in timers.items()
    )


def _timer_check(unit: str, why: str, state: host.UnitState) -> Check:
    ago = "not yet" if state.triggered_ago_s is None else f"{state.triggered_ago_s:.0f} s ago"
    told = why or f"{state.active}, last fired {ago}"
    return Check(f"timer:{unit}", f"{unit} fires", checks.outcome(not why), (told,))
