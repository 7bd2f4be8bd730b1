"""The proof of the watch: that somebody looks, finds, tells it once, and can be heard."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final, cast

import redis

from quantum_exit import keys
from quantum_exit.alerts.watch import STATE, TIMERS, silent_timer
from quantum_exit.policy.reader import ValidPolicy, parse_policy
from quantum_exit.proofs import checks, host, observe, watch_drill, way
from quantum_exit.proofs.model import Check, Expect, Figure, Outcome, Proof
from quantum_exit.values import Unknown

TITLE: Final = "WATCH PROOF"
LOOKED_AT_MOST_S: Final = 660.0
"""Twice its five minutes, and a minute for a slow boot."""
WATCH_TIMER: Final = "quantum-exit-owner-watch.timer"


def run(bus: redis.Redis, environ: Mapping[str, str], expect: Expect) -> Proof:
    """Raises redis.RedisError when Redis is gone."""
    del environ, expect
    began = time.time()
    # Before the drill makes it look: what is proven is that it looks by itself.
    state = observe.read_hash(bus, STATE)
    timers = {WATCH_TIMER: LOOKED_AT_MOST_S, **TIMERS}
    units = host.read_units(timers) if host.has_systemd() else None
    tests = (
        looked_check(state, _watch_timer(units), began),
        cursor_check(bus, state),
        *watch_drill.drill_checks(bus),
        way.way_check(bus, began),
        policy_check(bus, began),
        *timer_checks(timers, units),
    )
    return Proof("watch", TITLE, began, tests)


Units = dict[str, host.UnitState] | Unknown | None
"""None: there is no systemd here."""


def _watch_timer(units: Units) -> host.UnitState | None:
    return units[WATCH_TIMER] if isinstance(units, dict) else None


def looked_check(state: Mapping[str, str], timer: host.UnitState | None, now_epoch: float) -> Check:
    """Never is not yet due while its timer is younger than the time it is given."""
    name, key = "The watch looked lately", "looked"
    try:
        age_s = now_epoch - float(state["ts_epoch"])
    except (KeyError, ValueError):
        waits_s = timer.active_for_s if timer is not None else None
        if waits_s is not None and waits_s <= LOOKED_AT_MOST_S:
            told = f"not yet due: its timer is active for {waits_s:.0f} s"
            return Check(key, name, Outcome.INFO, (told,), critical=True)
        return Check(key, name, Outcome.FAIL, ("it never looked",), critical=True)
    runs, denied = state.get("runs", "?"), state.get("deny_total", "?")
    told = f"{age_s:.0f} s ago; {runs} look(s) and {denied} denial(s) so far"
    fine = -10 < age_s <= LOOKED_AT_MOST_S
    figure = Figure("looked", age_s, "s", most=LOOKED_AT_MOST_S)
    return Check(key, name, checks.outcome(fine), (told,), critical=True, figures=(figure,))


def silent_watch(bus: redis.Redis, now_epoch: float) -> str:
    """Why the watch counts as silent; empty when it looks as it should. For the other timer's
    run: one that stopped cannot say so itself. Raises redis.RedisError."""
    if not host.has_systemd():
        return ""
    units = host.read_units([WATCH_TIMER])
    check = looked_check(observe.read_hash(bus, STATE), _watch_timer(units), now_epoch)
    return "" if check.passed else check.evidence[0]


def cursor_check(bus: redis.Redis, state: Mapping[str, str]) -> Check:
    """Nothing that was there at the last look lies behind the cursor unseen."""
    name, key = "It has seen every result up to its last look", "cursor"
    cursor, looked = state.get("cursor", ""), state.get("ts_epoch", "")
    if not looked:
        return Check(key, name, Outcome.INFO, ("it has not looked yet",), critical=True)
    if not cursor:
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


def policy_check(bus: redis.Redis, now_epoch: float) -> Check:
    name, key = "The policy is refreshed", "policy"
    policy = parse_policy(observe.read_hash(bus, keys.POLICY_CURRENT), now_epoch)
    if isinstance(policy, ValidPolicy):
        left_s = policy.view.valid_until_epoch - now_epoch
        told = f"version {policy.view.version}, valid for {left_s:.0f} s"
        figure = Figure("policy_valid", left_s, "s", least=0)
        return Check(key, name, Outcome.PASS, (told,), figures=(figure,))
    why = policy.why if isinstance(policy, Unknown) else f"ran out {policy.expired_for_s:.0f} s ago"
    return Check(key, name, Outcome.FAIL, (why,))


def timer_checks(timers: Mapping[str, float], units: Units) -> tuple[Check, ...]:
    """One for each timer of ours; without systemd there are none to look at."""
    if not isinstance(units, dict):
        outcome = Outcome.INFO if units is None else Outcome.FAIL
        told = ("no systemd here" if units is None else units.why,)
        return tuple(Check(f"timer:{unit}", f"{unit} fires", outcome, told) for unit in timers)
    return tuple(
        _timer_check(unit, silent_timer(units[unit], patience_s), units[unit])
        for unit, patience_s in timers.items()
    )


def _timer_check(unit: str, why: str, state: host.UnitState) -> Check:
    ago = "not yet" if state.triggered_ago_s is None else f"{state.triggered_ago_s:.0f} s ago"
    told = why or f"{state.active}, last fired {ago}"
    return Check(f"timer:{unit}", f"{unit} fires", checks.outcome(not why), (told,))
