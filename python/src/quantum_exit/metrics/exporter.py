"""What Prometheus gets when it asks: one look at Redis, and the histograms kept in between."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import redis
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from quantum_exit import keys, kill_switch
from quantum_exit.metrics import families, state
from quantum_exit.metrics.latency import Latencies

STREAMS: Final = (
    *(keys.EXIT_INTENT, keys.EXIT_SHADOW, keys.APPLY_PLAN, keys.APPLY_PLAN_MANUAL),
    *(keys.APPLY_RESULT, keys.ALERTS),
)
SERVICES: Final = ("exitbrain", "apply_layer", "position_state", "intent_executor", "alerts")
PERMIT_METRICS: Final = "quantum:permits:metrics"
WATCH_STATE: Final = "quantum:watch:state"
_PREFIX: Final = "quantum:stream:"
_LOOK_EVERY_S: Final = 1.0


class Exporter(Collector):
    """`version`: the release that runs; `kill_file`: empty when there is none."""

    def __init__(
        self,
        bus: redis.Redis,
        registry: CollectorRegistry,
        *,
        version: str,
        kill_file: str,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._bus = bus
        self._version = version
        self._kill_file = kill_file
        self._wall = wall
        self._lock = threading.Lock()
        plan_seconds = Histogram(
            families.PLAN_SECONDS,
            families.PLAN_HELP,
            ["decision"],
            buckets=families.BUCKETS,
            registry=registry,
        )
        exit_seconds = Histogram(
            families.EXIT_SECONDS, families.EXIT_HELP, buckets=families.BUCKETS, registry=registry
        )
        self._latencies = Latencies(plan_seconds, exit_seconds)
        registry.register(self)

    def follow(self, stop: threading.Event, still_here: Callable[[str], None]) -> None:
        """Reads results as they come, until `stop`. `still_here` gets a word on how it goes."""
        while not stop.wait(_LOOK_EVERY_S):
            try:
                self._latencies.look(self._bus)
                still_here("ready")
            except (redis.RedisError, OSError) as error:
                still_here(f"not ready: Redis: {type(error).__name__}")

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not need Redis."""
        return ()

    def collect(self) -> Iterator[Metric]:
        try:
            with self._lock:
                seen = self._look()
        except (redis.RedisError, OSError):
            yield from _gauges([("quantum_redis_up", (), 0.0)])
            return
        info = [("quantum_redis_up", (), 1.0), ("quantum_release_info", (self._version,), 1.0)]
        yield from _gauges([*info, *state.gauges(seen, self._wall())])
        yield from _counters(state.counters(seen))

    def _look(self) -> state.Seen:
        """One round trip. A key of the wrong type is missing, not the end of the scrape."""
        pipe: Any = self._bus.pipeline(transaction=False)
        for service in SERVICES:
            pipe.hgetall(keys.heartbeat(service))
        pipe.get(keys.KILL_SWITCH)
        pipe.get(keys.BRAIN_ENV_KILL)
        hashes = (
            *(keys.EXECUTOR_METRICS, PERMIT_METRICS, keys.PROOF_VERDICTS),
            *(keys.POLICY_CURRENT, keys.ALERTS_DELIVERED, WATCH_STATE),
        )
        for key in hashes:
            pipe.hgetall(key)
        pipe.hlen(keys.EXECUTOR_OPEN)
        for stream in STREAMS:
            pipe.xlen(stream)
            pipe.xinfo_groups(stream)
        given = _execute(pipe)
        answers = [None if isinstance(a, Exception) else a for a in given]
        unreadable_kill = isinstance(given[len(SERVICES) + 1], Exception)
        beats, answers = answers[: len(SERVICES)], answers[len(SERVICES) :]
        switch, env_kill, *answers = answers
        executor, permits, verdicts, policy, alerts, watch = (one or {} for one in answers[:6])
        open_orders, *answers = answers[6:]
        streams = [stream.removeprefix(_PREFIX) for stream in STREAMS]
        lengths, groups = answers[0::2], answers[1::2]
        return state.Seen(
            beats={name: beat or {} for name, beat in zip(SERVICES, beats, strict=True)},
            switch=switch,
            env_kill="unreadable" if unreadable_kill else env_kill,
            file_active=kill_switch.read_file(self._kill_file).active if self._kill_file else None,
            executor=executor,
            permits=permits,
            verdicts=verdicts,
            policy=policy,
            alerts=alerts,
            watch=watch,
            open_orders=open_orders,
            lengths={s: n for s, n in zip(streams, lengths, strict=True) if n is not None},
            groups={s: found or () for s, found in zip(streams, groups, strict=True)},
        )


def _execute(pipe: Any) -> list[Any]:
    """Raises what is no matter of a single key."""
    answers: list[Any] = pipe.execute(raise_on_error=False)
    for answer in answers:
        if isinstance(answer, Exception) and not isinstance(answer, redis.ResponseError):
            raise answer
    return answers


def _gauges(samples: Iterable[state.Sample]) -> Iterator[Metric]:
    found: dict[str, GaugeMetricFamily] = {}
    for name, labels, value in samples:
        text, label_names = families.GAUGES[name]
        family = found.setdefault(name, GaugeMetricFamily(name, text, labels=label_names))
        family.add_metric(labels, value)
    yield from found.values()


def _counters(samples: Iterable[state.Sample]) -> Iterator[Metric]:
    found: dict[str, CounterMetricFamily] = {}
    for name, labels, value in samples:
        text, label_names = families.COUNTERS[name]
        family = found.setdefault(name, CounterMetricFamily(name, text, labels=label_names))
        family.add_metric(labels, value)
    yield from found.values()


def running_release() -> str:
    """By where this code lies; empty when it is no deployed release."""
    parts = Path(__file__).resolve().parts
    return parts[parts.index("releases") + 1] if "releases" in parts else ""
