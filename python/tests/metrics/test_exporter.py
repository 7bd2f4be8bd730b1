"""The exporter from outside: what Prometheus gets from a real Redis."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from quantum_exit import keys
from quantum_exit.kill_switch import dump_runtime
from quantum_exit.metrics import families
from quantum_exit.metrics.latency import Arrivals

from ..conftest import RedisServer, free_port, wait_for

Scrape = Callable[[], dict[str, float]]
"""Name and labels, as `name{a=b,c=d}`, to the value."""


def parse(text: str) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sample.labels.items())
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


class Exporting:
    def __init__(self, redis_url: str, kill_file: Path) -> None:
        self.port = free_port()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "quantum_exit.metrics"],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": os.pathsep.join(sys.path),
                "REDIS_URL": redis_url,
                "METRICS_PORT": str(self.port),
                "QUANTUM_KILL_FILE": str(kill_file),
            },
        )
        wait_for(self._answers, "the exporter", 20)

    def _answers(self) -> bool:
        try:
            return bool(self.text())
        except OSError:
            return False

    def text(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    def __call__(self) -> dict[str, float]:
        return parse(self.text())


@pytest.fixture
def kill_file(tmp_path: Path) -> Path:
    path = tmp_path / "kill_switch"
    path.write_text("off\n")
    return path


@pytest.fixture
def scrape(redis_url: str, kill_file: Path) -> Iterator[Exporting]:
    exporting = Exporting(redis_url, kill_file)
    yield exporting
    exporting.process.terminate()
    assert exporting.process.wait(15) == 0


def switch(client: redis.Redis, *, active: bool) -> None:
    client.set(keys.KILL_SWITCH, dump_runtime(active=active, by="", reason="", at="", epoch=0))


def test_an_empty_redis_claims_nothing_but_a_kill_switch_that_is_on(scrape: Exporting) -> None:
    seen = scrape()
    assert seen["quantum_redis_up"] == 1
    assert seen["quantum_kill_switch_active{place=redis}"] == 1
    assert seen["quantum_kill_switch_active{place=file}"] == 0
    assert seen["quantum_ready{service=exitbrain}"] == 0
    assert not [name for name in seen if name.startswith(("quantum_mode", "quantum_proof"))]


def test_what_the_services_write_is_told(
    scrape: Exporting, redis_client: redis.Redis, kill_file: Path
) -> None:
    now = time.time()
    switch(redis_client, active=False)
    kill_file.write_text("on \n")
    beat = {"ready": "true", "ts_epoch": str(now), "mode": "LIVE", "cycle_epoch": str(now - 3)}
    more = {"positions": "2", "unprotected_now_s": "7.5", "unprotected_total_s": "9"}
    stops = {"exchange_stops_missing": "BTCUSDT,ETHUSDT"}
    redis_client.hset(keys.heartbeat("exitbrain"), mapping={**beat, **more, **stops})
    redis_client.hset(keys.heartbeat("apply_layer"), mapping={"ready": "true", "ts_epoch": "1"})
    counts = {"processed": 9, "decision_denied": 4, "exit_owner_denied": 3, "noise": "x"}
    redis_client.hset(keys.EXECUTOR_METRICS, mapping=counts)
    redis_client.hset("quantum:watch:state", mapping={"deny_total": 6, "cursor": "0-0"})
    permits = {"allowed": 5, "refused_no_position": 2}
    redis_client.hset("quantum:permits:metrics", mapping=permits)
    verdict = json.dumps({"verdict": "FAIL", "ts_epoch": f"{now - 60:.6f}"})
    redis_client.hset(keys.PROOF_VERDICTS, mapping={"exitbrain": verdict, "watch": "{"})
    redis_client.hset(keys.POLICY_CURRENT, "valid_until_epoch", str(now + 100))
    told = {"discord:waiting": "3", "discord:trouble": "HTTP 500", "repeats": "4"}
    redis_client.hset(keys.ALERTS_DELIVERED, mapping={**told, "canary_epoch": str(now - 10)})
    redis_client.xgroup_create(keys.APPLY_PLAN, keys.GROUP_EXECUTOR, id="0", mkstream=True)
    redis_client.xadd(keys.APPLY_PLAN, {"plan_id": "a"})
    redis_client.set(keys.EXECUTOR_OPEN, "of the wrong type")
    redis_client.rpush(keys.BRAIN_ENV_KILL, "of the wrong type: no grant is given then")
    seen = scrape()
    expected = {
        "quantum_kill_switch_active{place=redis}": 0,
        "quantum_kill_switch_active{place=file}": 1,
        "quantum_kill_switch_active{place=env}": 1,
        "quantum_ready{service=exitbrain}": 1,
        "quantum_ready{service=apply_layer}": 0,
        "quantum_mode{mode=LIVE}": 1,
        "quantum_mode{mode=SHADOW}": 0,
        "quantum_positions": 2,
        "quantum_unprotected_seconds": 7.5,
        "quantum_unprotected_total": 9,
        "quantum_exchange_stops_missing": 2,
        "quantum_plans_total{decision=denied}": 4,
        "quantum_exit_owner_denied_total": 3,
        "quantum_watch_denials_total": 6,
        "quantum_permits_total{outcome=allowed}": 5,
        "quantum_permit_refusals_total{reason=no_position}": 2,
        "quantum_proof_verdict{proof=exitbrain}": 2,
        "quantum_alerts_waiting{destination=discord}": 3,
        "quantum_alerts_trouble{destination=discord}": 1,
        "quantum_alert_repeats_total": 4,
        "quantum_stream_entries{stream=apply.plan}": 1,
        "quantum_stream_pending{group=intent_executor,stream=apply.plan}": 0,
        "quantum_stream_unread{group=intent_executor,stream=apply.plan}": 1,
    }
    assert {name: seen.get(name) for name in expected} == expected
    assert seen["quantum_brain_cycle_age_seconds"] == pytest.approx(3, abs=5)
    assert seen["quantum_policy_valid_seconds"] == pytest.approx(100, abs=5)
    assert "quantum_orders_open" not in seen, "of the wrong type is missing, not zero"
    assert "quantum_proof_verdict{proof=watch}" not in seen


def test_latencies_are_those_of_the_streams(scrape: Exporting, redis_client: redis.Redis) -> None:
    def has_looked() -> bool:
        """Only what comes after its first look is new to it."""
        redis_client.xadd(keys.APPLY_PLAN, {"plan_id": "warm"})
        redis_client.xadd(keys.APPLY_RESULT, {"plan_id": "warm", "decision": "WARM"})
        return bool(scrape().get("quantum_plan_duration_seconds_count{decision=warm}"))

    wait_for(has_looked, "a first look", 20)
    start = int(time.time() * 1000) + 10_000
    intent = {"intent_id": "one"}
    redis_client.xadd(keys.EXIT_INTENT, intent, id=f"{start}-0")
    for number, (took_ms, decision) in enumerate([(200, "EXECUTED"), (8_000, "DENIED")]):
        plan_id = ["exit-one", "other"][number]
        redis_client.xadd(keys.APPLY_PLAN, {"plan_id": plan_id}, id=f"{start + 40 + number}-0")
        result = {
            "plan_id": plan_id,
            "decision": decision,
            "executed": "true" if decision == "EXECUTED" else "false",
        }
        redis_client.xadd(keys.APPLY_RESULT, result, id=f"{start + 40 + number + took_ms}-0")
    name = "quantum_plan_duration_seconds"
    wait_for(lambda: scrape().get(f"{name}_count{{decision=denied}}") == 1, "both results", 20)
    seen = scrape()
    assert seen[f"{name}_sum{{decision=executed}}"] == pytest.approx(0.2)
    assert seen[f"{name}_bucket{{decision=executed,le=0.25}}"] == 1
    assert seen[f"{name}_bucket{{decision=executed,le=0.1}}"] == 0
    assert seen[f"{name}_sum{{decision=denied}}"] == pytest.approx(8)
    assert seen["quantum_exit_duration_seconds_sum"] == pytest.approx(0.24)
    assert seen["quantum_exit_duration_seconds_count"] == 1


def test_bytes_that_are_no_text_do_not_end_it(scrape: Exporting, redis_client: redis.Redis) -> None:
    """Any producer may write them into a plan."""
    redis_client.xadd(keys.APPLY_PLAN, {b"plan_id": b"\xff", b"\xfe": b"\xc3"})

    def looks_on() -> bool:
        redis_client.xadd(keys.APPLY_PLAN, {"plan_id": "warm"})
        redis_client.xadd(keys.APPLY_RESULT, {"plan_id": "warm", "decision": "WARM"})
        return bool(scrape().get("quantum_plan_duration_seconds_count{decision=warm}"))

    wait_for(looks_on, "a look past it", 20)
    assert scrape.process.poll() is None


def test_a_redis_that_is_gone_is_said_and_nothing_else_is_claimed(
    tmp_path: Path, kill_file: Path
) -> None:
    directory = tmp_path / "redis"
    directory.mkdir()
    server = RedisServer(directory, durable=False)
    server.start()
    exporting = Exporting(server.url, kill_file)
    try:
        assert exporting()["quantum_redis_up"] == 1
        server.kill()
        gone = exporting()
        assert gone["quantum_redis_up"] == 0
        assert "quantum_kill_switch_active{place=redis}" not in gone
        server.start()
        wait_for(lambda: exporting()["quantum_redis_up"] == 1, "the Redis that is back")
    finally:
        exporting.process.kill()
        exporting.process.wait()
        server.kill()


def test_every_metric_that_is_named_is_described_and_few_have_labels() -> None:
    described = {**families.GAUGES, **families.COUNTERS}
    assert all(text and name.startswith("quantum_") for name, (text, _) in described.items())
    assert not {"symbol", "plan_id", "source"} & {
        label for _, labels in described.values() for label in labels
    }


def test_an_id_without_end_is_not_remembered() -> None:
    """Any producer may write one, and each of them may have megabytes."""
    seen = Arrivals()
    for name in ("x" * 100_000, "x" * 128):
        seen.note(name, 1)
    assert list(seen) == ["x" * 128]
