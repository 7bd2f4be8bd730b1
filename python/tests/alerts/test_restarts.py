"""Services that were started again: told once, by whoever could."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import replace

import pytest
import redis

from quantum_exit import keys
from quantum_exit.alerts import watch
from quantum_exit.alerts.model import AlertType
from quantum_exit.alerts.restarts import REMEMBERED, TELLING_S, restarts
from quantum_exit.courier.raise_alert import failed
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


@pytest.mark.parametrize("by_systemd", [False, True])
def test_it_is_told_once(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, by_systemd: bool
) -> None:
    ended = 0

    def read_units(names: Iterable[str]) -> dict[str, UnitState]:
        well = {name: replace(SETTLED, unit=name, triggered_ago_s=1.0) for name in names}
        again = replace(SETTLED, invocation=f"start-{ended}", restarts=ended)
        return {**well, NAME: again} if NAME in well else well

    def told() -> list[int | None]:
        state = dict(redis_client.hgetall(watch.STATE))
        now = time.time()
        watch.record(redis_client, state, watch.look(redis_client, state, now), now)
        entries = [fields for _, fields in redis_client.xrange(keys.ALERTS)]
        kinds = [f["details"] for f in entries if f["alert_type"] == AlertType.SERVICE_FAILED]
        return [json.loads(details).get("restarts") for details in kinds]

    monkeypatch.setattr("quantum_exit.proofs.host.has_systemd", lambda: True)
    monkeypatch.setattr("quantum_exit.proofs.host.read_units", read_units)
    assert told() == []
    ended = 2
    if by_systemd:
        alert = failed(NAME, {"MONITOR_SERVICE_RESULT": "signal"}, time.time())
        redis_client.xadd(keys.ALERTS, dict(alert.items()))
    once = [None] if by_systemd else [2]
    assert told() == once
    assert told() == once
    if not by_systemd:
        ended = 4
        assert told() == [2, 2], "what was told of before does not silence what comes after it"
