"""Entries of the alerts' stream as alerts, and what can be told of them without a disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from quantum_exit import keys
from quantum_exit.alerts.denials import TOLD, drill_alert_id
from quantum_exit.alerts.model import AlertType
from quantum_exit.bus.connection import RedisClient, connect
from quantum_exit.bus.consumer import Entry, GroupReader
from quantum_exit.courier.emergency import Emergency
from quantum_exit.courier.taken import Taken, decode_fields, from_fields

SERVICE: Final = "alerts"
BATCH: Final = 100
BLOCK_MS: Final = 500
HELD_MOST: Final = 1000


def connected(redis_url: str) -> RedisClient:
    return connect(redis_url, block_s=BLOCK_MS / 1000, name=SERVICE)


def reader_of(client: RedisClient) -> GroupReader:
    return GroupReader(client, streams=[keys.ALERTS], group=keys.GROUP_ALERTS, consumer=SERVICE)


def alerts_of(client: RedisClient, entries: Sequence[Entry], now_epoch: float) -> list[Taken]:
    """Raises RedisError."""
    alerts = (from_fields(decode_fields(e.fields), e.entry_id, now_epoch) for e in entries)
    return [_vouched_for(client, alert) for alert in alerts]


def _vouched_for(client: RedisClient, alert: Taken) -> Taken:
    """A drill wakes nobody, so it has to be one: many users may write alerts, and only a proof's
    registers plans as drills. Nor may what wakes nobody come under another alert's id, which
    would then be taken for a second one of it."""
    if not alert.is_drill:
        return alert
    kind, own_id = AlertType.EXIT_OWNER_VIOLATION, drill_alert_id(alert.extra["drill"])
    if (alert.type, alert.alert_id) != (kind, own_id):
        return alert.without_drill()
    marks = cast("list[Any]", client.mget([keys.drill(plan_id) for plan_id in alert.drill_plans]))
    return alert if all(mark == TOLD.encode() for mark in marks) else alert.without_drill()


class WithoutDisk:
    """For as long as there is no spool: each alert is told from memory and none acknowledged, so
    that the spool gets them all later. Whoever is told may hear it once more then."""

    def __init__(
        self, redis_url: str, emergency: Emergency, wall: Callable[[], float] = time.time
    ) -> None:
        self._redis = connected(redis_url)
        self._reader = reader_of(self._redis)
        self._emergency = emergency
        self._wall = wall
        self._held: list[Entry] = []

    def look(self) -> None:
        """Waits up to BLOCK_MS for new ones. Raises RedisError; then begin anew."""
        if len(self._held) < HELD_MOST:
            self._held += self._reader.read(count=BATCH, block_ms=BLOCK_MS)
        self._emergency.cry(alerts_of(self._redis, self._held, self._wall()))

    def close(self) -> None:
        self._redis.close()
