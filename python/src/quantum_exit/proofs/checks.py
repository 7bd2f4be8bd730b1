"""Checks that several proofs share."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

import redis

from quantum_exit.bus.heartbeat import STALE_AFTER_S
from quantum_exit.proofs import host
from quantum_exit.proofs.model import Check, Expect, Figure, Outcome
from quantum_exit.proofs.observe import Beat, Place, SwitchWord
from quantum_exit.values import Unknown

PENDING_AT_MOST_S: Final = 15.0
"""A plan waits 8 s for its permit, and a little for its order."""

UNREAD_AT_MOST_S: Final = 5.0


def oldest_pending_s(bus: redis.Redis, stream: str, group: str) -> float | None:
    """How long the group's oldest entry waits since it was last handed out; None when none
    does. Raises redis.ResponseError when there is no such group."""
    page: Any = bus.xpending_range(stream, group, "-", "+", count=1)
    return page[0]["time_since_delivered"] / 1000 if page else None


def oldest_unread_s(bus: redis.Redis, stream: str, group: str, now_epoch: float) -> float | None:
    """Age of the oldest entry that the group was never handed; None when there is none."""
    groups: Any = bus.xinfo_groups(stream)
    delivered = next((g["last-delivered-id"] for g in groups if g["name"] == group), "0-0")
    page: Any = bus.xrange(stream, min=f"({delivered}", count=1)
    return now_epoch - int(page[0][0].partition("-")[0]) / 1000 if page else None


@dataclass(frozen=True, slots=True)
class GroupSeen:
    """Whether a group is handed its entries and answers them, and what was seen."""

    fine: bool
    told: str
    waits_s: float = 0.0
    """How long its oldest entry waits, unread or unanswered."""


def group(bus: redis.Redis, stream: str, name: str) -> GroupSeen:
    try:
        waits_s = oldest_pending_s(bus, stream, name)
        unread_s = oldest_unread_s(bus, stream, name, time.time())
    except redis.ResponseError as error:
        return GroupSeen(False, f"{name} on {stream}: {error}")
    told = "nothing pending" if waits_s is None else f"oldest pending for {waits_s:.0f} s"
    if unread_s is not None:
        told += f", oldest unread for {unread_s:.0f} s"
    fine = (waits_s or 0) <= PENDING_AT_MOST_S and (unread_s or 0) <= UNREAD_AT_MOST_S
    return GroupSeen(fine, f"{name} on {stream}: {told}", max(waits_s or 0, unread_s or 0))


def outcome(passed: bool) -> Outcome:
    return Outcome.PASS if passed else Outcome.FAIL


def service(name: str, beat: Beat | Unknown) -> Check:
    """By systemd where there is one; else the heartbeat's process must be alive."""
    title, key = "Service active", "service"
    if host.has_systemd():
        passed, evidence = _by_systemd(host.UNITS[name])
    else:
        passed, evidence = _by_process(beat)
    figures: tuple[Figure, ...] = ()
    if isinstance(beat, Beat):
        figures = (Figure("heartbeat_age", max(beat.age_s, 0.0), "s", most=STALE_AFTER_S),)
        ready = "ready" if beat.ready else "NOT READY"
        evidence += (f"{ready}: {beat.status}",)
        if not beat.fresh:
            evidence += (f"its heartbeat is {beat.age_s:.0f} s old",)
        passed = passed and beat.ready and beat.fresh
    else:
        evidence, passed = (*evidence, beat.why), False
    return Check(key, title, outcome(passed), evidence, critical=True, figures=figures)


def _by_systemd(unit: str) -> tuple[bool, tuple[str, ...]]:
    states = host.read_units([unit])
    if isinstance(states, Unknown):
        return False, (states.why,)
    state = states[unit]
    if not state.installed:
        return False, (f"{unit} is not installed",)
    uptime = f"{state.active_for_s:.0f} s" if state.active_for_s is not None else "none"
    told = f"{unit} {state.active} ({state.sub}), MainPID {state.main_pid}, uptime {uptime}"
    return state.running, (f"{told}, restarts {state.restarts}",)


def _by_process(beat: Beat | Unknown) -> tuple[bool, tuple[str, ...]]:
    if isinstance(beat, Unknown):
        return False, ()
    alive = host.process_alive(beat.pid)
    uptime_s = time.time() - beat.started_epoch
    word = "runs" if alive else "does NOT run"
    return alive, (f"no systemd here; process {beat.pid} {word}, uptime {uptime_s:.0f} s",)


def kill_switch(places: list[Place], expect: Expect) -> Check:
    """Every place, each by its own word. Expected killed: on in at least one."""
    told = tuple(f"{place.name}: {place.word}, {place.why}" for place in places)
    if expect is Expect.KILLED:
        on = any(place.word is SwitchWord.ON for place in places)
        return Check("kill_switch", "Kill switch on", outcome(on), told, critical=True)
    # The brain's environment forces SHADOW, so there it says nothing against SHADOW.
    judged = [place for place in places if expect is Expect.LIVE or place.name != "env"]
    off = all(place.word is SwitchWord.OFF for place in judged)
    return Check("kill_switch", "Kill switch off everywhere", outcome(off), told, critical=True)
