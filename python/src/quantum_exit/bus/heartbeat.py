"""A service's heartbeat: one hash in Redis that says whether it is ready, and how fresh."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any, Final

from redis.exceptions import ResponseError

from quantum_exit import keys
from quantum_exit.bus.connection import RedisClient
from quantum_exit.bus.refusals import is_wrong_type
from quantum_exit.values import format_epoch

log = logging.getLogger(__name__)

STALE_AFTER_S: Final = 10.0


class Heartbeat:
    """`quantum:heartbeat:<service>`: ready, status, ts_epoch, started_epoch, pid, own fields.

    It has no TTL on purpose: its age tells how long a service has been gone.
    """

    def __init__(self, redis: RedisClient, service: str, started_epoch: float) -> None:
        self._redis = redis
        self._key = keys.heartbeat(service)
        self._is_misplaced = False
        self._fixed = {"pid": str(os.getpid()), "started_epoch": format_epoch(started_epoch)}

    def newest(self, now_epoch: float) -> tuple[float, bool]:
        """Age in seconds of the newest beat, whoever's it was, and whether that one was ready;
        infinite where there is none to be read. Raises redis.RedisError."""
        raw: Any = self._redis.hmget(self._key, ["ts_epoch", "ready"])
        try:
            return now_epoch - float(raw[0]), raw[1] == b"true"
        except (TypeError, ValueError):
            return float("inf"), False

    def beat(
        self, now_epoch: float, *, ready: bool, status: str, extra: Mapping[str, str] | None = None
    ) -> None:
        """Raises redis.RedisError; the caller decides what that means for it. A key of another
        type in its place takes no beat, which is seen from outside as a service that is gone:
        it must not become one."""
        pairs: list[str] = [
            *("ready", "true" if ready else "false"),
            *("status", status),
            *("ts_epoch", format_epoch(now_epoch)),
        ]
        for name, value in {**self._fixed, **(extra or {})}.items():
            pairs += (name, value)
        try:
            self._redis.hset(self._key, items=pairs)
        except ResponseError as error:
            if not is_wrong_type(error):
                raise
            if not self._is_misplaced:
                log.error("%s is of another type: delete it, nobody sees the heartbeat", self._key)
            self._is_misplaced = True
        else:
            self._is_misplaced = False
