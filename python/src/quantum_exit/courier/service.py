"""The courier's main loop: take, spool, acknowledge; say how it stands. Delivering is for the
threads of the destinations, which neither Redis nor each other can hold up."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from redis.exceptions import RedisError

from quantum_exit import keys
from quantum_exit.alerts.model import AlertType, Severity, alert_fields
from quantum_exit.bus.consumer import Entry
from quantum_exit.bus.heartbeat import Heartbeat
from quantum_exit.courier import drop
from quantum_exit.courier.config import CourierConfig
from quantum_exit.courier.delivery import Delivery
from quantum_exit.courier.destinations import Destination
from quantum_exit.courier.emergency import Emergency
from quantum_exit.courier.incoming import (
    BATCH,
    BLOCK_MS,
    HELD_MOST,
    SERVICE,
    alerts_of,
    connected,
    reader_of,
)
from quantum_exit.courier.masking import Mask
from quantum_exit.courier.spool import DEADMAN, open_spool
from quantum_exit.courier.taken import Taken, from_fields
from quantum_exit.systemd import Notifier

log = logging.getLogger("quantum_exit.courier")

SPOOL: Final = "spool.sqlite3"
RECENT: Final = 50
_BEAT_EVERY_S: Final = 1.0
_FORGET_EVERY_S: Final = 3_600.0
_RETRY_S: Final = 0.5
_PATIENCE_S: Final = 9.0
"""For a message that is on its way when we are told to stop; less than systemd's."""


class Courier:
    """Raises sqlite3.Error or OSError from the constructor when there is no disk to spool on."""

    def __init__(
        self,
        config: CourierConfig,
        destinations: list[Destination],
        emergency: Emergency,
        mask: Mask,
        notifier: Notifier,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._emergency = emergency
        self._mask = mask
        self._notifier = notifier
        self._wall = wall
        self._monotonic = monotonic
        self._stop = threading.Event()
        path = config.state_directory / SPOOL
        self._spool, mishap = open_spool(path)
        names = [destination.name for destination in destinations]
        self._spool.serve(names)
        self._told_nobody = not [name for name in names if name != DEADMAN]
        self._deliveries = [Delivery(one, path, self._stop) for one in destinations]
        self._redis = connected(config.redis_url)
        self._reader = reader_of(self._redis)
        self._heartbeat = Heartbeat(self._redis, SERVICE, wall())
        self._trouble: dict[str, str] = {}
        """What stands in the way, by where it stands: `redis`, `spool`."""
        self._held: list[Entry] = []
        """Read, and not on the disk yet, because it is full."""
        self._lost_said = 0
        self._due: dict[str, float] = {}
        self._published: Mapping[str, str] = {}
        if mishap:
            self._take([self._own(mishap)])

    def run(self, stopping: Callable[[], bool]) -> None:
        threads = [threading.Thread(target=one.run, daemon=True) for one in self._deliveries]
        for thread in threads:
            thread.start()
        self._notifier.ready()
        while not stopping():
            self._notifier.watchdog()
            self._guarded("spool", self._take_drops)
            self._guarded("spool", self._keep_house)
            self._guarded("redis", self._take_from_stream)
            self._guarded("redis", self._tell)
        self._notifier.stopping()
        self._stop.set()
        for delivery in self._deliveries:
            delivery.wake()
        until = self._monotonic() + _PATIENCE_S
        for thread in threads:
            thread.join(max(0.0, until - self._monotonic()))

    def _guarded(self, place: str, step: Callable[[], None]) -> None:
        try:
            step()
        except (sqlite3.Error, OSError, RedisError) as error:
            where = place if isinstance(error, RedisError) else "spool"
            text = self._mask.text(f"{type(error).__name__}: {error}")[:200]
            if self._trouble.get(where) != text:
                log.error("%s: %s", where, text)
            self._trouble[where] = text
            self._notifier.status(f"not ready: {where}: {text}")
            if where == "redis":
                self._reader.reset()  # what was read and not acknowledged comes again
                self._held = []
            time.sleep(_RETRY_S)

    # taking

    def _take_from_stream(self) -> None:
        entries = self._held
        if len(entries) < HELD_MOST:
            entries = entries + self._reader.read(count=BATCH, block_ms=BLOCK_MS)
        self._trouble.pop("redis", None)
        if entries:
            self._held = entries  # until they lie on the disk
            self._take(alerts_of(self._redis, entries, self._wall()))
            self._held = []
            ids = [entry.entry_id for entry in entries]
            self._redis.xack(keys.ALERTS, keys.GROUP_ALERTS, *ids)
        lost = self._reader.deleted_unread - self._lost_said
        if lost:
            self._take([self._own(f"{lost} alert(s) were deleted before they were read")])
            self._lost_said += lost

    def _take_drops(self) -> None:
        folders = (self._config.state_directory, self._config.runtime_directory)
        paths = [path for folder in folders if folder for path in drop.waiting(folder)]
        if paths:
            now = self._wall()
            alerts = [from_fields(fields, "", now) for fields in drop.read(paths)]
            self._take([alert.without_drill() if alert.is_drill else alert for alert in alerts])
            for path in paths:
                path.unlink(missing_ok=True)

    def _take(self, alerts: list[Taken]) -> None:
        try:
            new = self._spool.take(alerts, self._config.window_s, self._wall())
        except sqlite3.Error:
            self._emergency.cry(alerts)
            raise
        for alert in new:
            document = self._mask.value(alert.document(self._config.host))
            log.warning("alert %s", json.dumps(document, ensure_ascii=False, default=str))
        self._trouble.pop("spool", None)
        self._wake()

    def _wake(self) -> None:
        for delivery in self._deliveries:
            delivery.wake()

    def _own(self, why: str) -> Taken:
        details = {"service": SERVICE, "why": why}
        now = self._wall()
        fields = alert_fields(AlertType.LAYER_DOWN, Severity.CRITICAL, details, now)
        return from_fields(fields, "", now)

    # keeping house, telling

    def _keep_house(self) -> None:
        if self._is_due("windows", _BEAT_EVERY_S) and self._spool.close_windows(self._wall()):
            self._wake()
        if self._is_due("forget", _FORGET_EVERY_S):
            self._spool.forget_old(self._wall())

    def _tell(self) -> None:
        if not self._is_due("beat", _BEAT_EVERY_S):
            return
        record = self._spool.record()
        status = self._status(record)
        ready = not status.startswith("not ready")
        extra = {name: record[name] for name in ("destinations", "waiting", "canary_epoch")}
        self._heartbeat.beat(self._wall(), ready=ready, status=status, extra=extra)
        self._notifier.status(status)
        if record == self._published:
            return
        recent = [json.dumps(one, separators=(",", ":")) for one in self._spool.recent(RECENT)]
        pipe: Any = self._redis.pipeline(transaction=True)
        pipe.delete(keys.ALERTS_DELIVERED, keys.ALERTS_RECENT)
        pipe.hset(keys.ALERTS_DELIVERED, mapping=record)
        if recent:
            pipe.rpush(keys.ALERTS_RECENT, *recent)
        pipe.execute()
        self._published = record

    def _status(self, record: Mapping[str, str]) -> str:
        if self._trouble:
            return "not ready: " + "; ".join(f"{k}: {v}" for k, v in self._trouble.items())
        down = [
            f"{name.removesuffix(':trouble')}: {text}"
            for name, text in record.items()
            if name.endswith(":trouble") and text
        ]
        if down:
            return f"not ready: {record['waiting']} alert(s) wait; {'; '.join(down)}"
        if self._told_nobody:
            return "ready; no destination is configured, alerts end in the journal"
        return f"ready: {record['destinations']}"

    def _is_due(self, what: str, every_s: float) -> bool:
        now = self._monotonic()
        if now < self._due.get(what, 0.0):
            return False
        self._due[what] = now + every_s
        return True
