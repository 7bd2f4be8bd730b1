"""Put an alert on `quantum:stream:alerts`. An alert never stops what raised it."""

from __future__ import annotations

from collections.abc import Mapping

import redis as redis_module

from quantum_exit import keys
from quantum_exit.alerts.model import AlertType, Severity, alert_fields
from quantum_exit.bus.connection import RedisClient

__all__ = ["AlertType", "Severity", "publish_alert"]


def publish_alert(
    redis: RedisClient,
    alert_type: AlertType,
    severity: Severity,
    details: Mapping[str, object],
    now_epoch: float,
    *,
    extra: Mapping[str, str] | None = None,
) -> bool:
    """Add one entry; True when Redis took it. `now_epoch`: Unix seconds.

    `details` becomes one JSON object; `extra` are further top-level fields. Never raises.
    It may wait for as long as the client's socket timeout, so a thread on the way of an
    order raises its alerts after the order, not before.
    """
    try:
        fields = alert_fields(alert_type, severity, details, now_epoch, extra)
        redis.xadd(keys.ALERTS, dict(fields.items()))
    except (redis_module.RedisError, OSError, ValueError, TypeError, RecursionError):
        return False
    return True
