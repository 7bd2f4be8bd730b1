"""The watch's drill, with a watch that does not look."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
import redis

from quantum_exit import keys
from quantum_exit.alerts.watch import STATE
from quantum_exit.proofs import watch_drill
from quantum_exit.proofs.drill import Answer, Drill


def test_a_denial_that_many_results_follow_is_found_by_none_that_does_not_look(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(bus: redis.Redis, drills: Sequence[Drill], mark: str) -> list[Answer]:
        [one] = drills
        denied = {"plan_id": one.plan_id, "executed": "false", "error": one.expected[0]}
        pipe = bus.pipeline(transaction=False)
        for result in (denied, *[{"plan_id": "another"}] * 2500):
            pipe.xadd(keys.APPLY_RESULT, dict(result.items()))
        pipe.execute()
        return [Answer(one, (denied,), True)]

    monkeypatch.setattr("quantum_exit.proofs.host.has_systemd", lambda: True)
    monkeypatch.setattr("quantum_exit.proofs.drill.run", run)
    monkeypatch.setattr(watch_drill, "look", lambda: "")
    redis_client.hset(keys.SNAPSHOT_STATE, mapping={"symbols": json.dumps([]), "ts_epoch": "1"})
    redis_client.hset(STATE, "cursor", "0-1")
    checks = {check.key: check for check in watch_drill.drill_checks(redis_client)}
    assert not checks["found"].passed, checks["found"].evidence
