"""Services that were started again: told once, by whoever could."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quantum_exit.alerts.restarts import REMEMBERED, TELLING_S, restarts
from quantum_exit.proofs.host import UnitState

NAME = "quantum-apply-layer.service"
SETTLED = UnitState(
    unit=NAME,
    installed=True,
    active="active",
    sub="running",
    main_pid=7,
    restarts=0,
    invocation="first",
    active_for_s=TELLING_S + 60,
    triggered_ago_s=None,
    result="success",
)


def test_the_first_look_only_remembers() -> None:
    found = restarts({}, [replace(SETTLED, restarts=3)], ())
    assert found.times == {}
    assert found.seen == {f"{REMEMBERED}{NAME}": "first:3"}


@pytest.mark.parametrize(
    ("before", "now", "times"),
    [
        ("first:0", replace(SETTLED), 0),
        ("first:0", replace(SETTLED, invocation="next", restarts=1), 1),
        ("first:2", replace(SETTLED, invocation="next", restarts=5), 3),
        # Somebody started it meanwhile, and systemd counts anew from there.
        ("first:2", replace(SETTLED, invocation="next", restarts=0), 0),
        ("first:2", replace(SETTLED, invocation="next", restarts=2), 2),
        ("first:2", replace(SETTLED, invocation="next", restarts=1), 1),
    ],
)
def test_what_came_since_the_last_look_is_counted(before: str, now: UnitState, times: int) -> None:
    found = restarts({f"{REMEMBERED}{NAME}": before}, [now], ())
    assert found.times == ({NAME: times} if times else {})
    again = restarts(found.seen, [now], ())
    assert again.times == {}


def test_what_was_told_is_not_told_again() -> None:
    state, now = {f"{REMEMBERED}{NAME}": "first:0"}, replace(SETTLED, invocation="x", restarts=2)
    found = restarts(state, [now], {NAME})
    assert found.times == {}
    assert restarts(found.seen, [now], ()).times == {}


@pytest.mark.parametrize("active_for_s", [None, TELLING_S - 1])
def test_what_has_only_just_happened_is_left_to_the_next_look(active_for_s: float | None) -> None:
    state = {f"{REMEMBERED}{NAME}": "first:0"}
    young = replace(SETTLED, invocation="next", restarts=1, active_for_s=active_for_s)
    found = restarts(state, [young], ())
    assert (found.times, found.seen) == ({}, {})
    assert restarts(state, [replace(young, active_for_s=60.0)], ()).times == {NAME: 1}
    again_and_again = replace(young, restarts=2)
    assert restarts(state, [again_and_again], ()).times == {NAME: 2}


def test_a_unit_that_is_not_installed_is_none() -> None:
    assert restarts({}, [replace(SETTLED, installed=False)], ()).seen == {}
