"""`python -m quantum_exit.courier.raise_alert failed UNIT | canary`: one alert, whatever is down.

Into the stream, or, when Redis does not take it, as a file where the courier looks for it. Both
are told under one id, so an answer that was lost on the way makes no second alert.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from quantum_exit import keys
from quantum_exit.alerts.model import AlertType, Severity, alert_fields
from quantum_exit.courier import drop
from quantum_exit.courier.config import runtime_directory, state_directory
from quantum_exit.settings import ConfigError, redis_url, run_service

_PATIENCE_S: Final = 2.0
_MEANINGS: Final = {
    "exit-code": "it ended with an error",
    "signal": "it was killed by a signal",
    "core-dump": "it crashed",
    "watchdog": "it hung, and systemd ended it",
    "timeout": "it did not start or stop in time",
    "oom-kill": "it was out of memory",
    "start-limit-hit": "it was started too often",
    "resources": "systemd could not start it",
    "protocol": "it did not report as it should",
}


def failed(unit: str, environ: Mapping[str, str], now_epoch: float) -> dict[str, str]:
    """What systemd says of a unit that failed, by the variables it hands to OnFailure= units."""
    result = environ.get("MONITOR_SERVICE_RESULT", "unknown")
    details = {
        "unit": unit,
        "why": _MEANINGS.get(result, result),
        "result": result,
        "status": environ.get("MONITOR_EXIT_STATUS", ""),
        "mend": f"systemctl status {unit}; journalctl -u {unit} -n 50",
    }
    if environ.get("MONITOR_EXIT_STATUS") == "78":
        details["why"] = "wrong configuration: it is not started again until that is mended"
    return alert_fields(AlertType.SERVICE_FAILED, Severity.CRITICAL, details, now_epoch)


def canary(now_epoch: float) -> dict[str, str]:
    details = {"why": "nothing is wrong: once a day this proves that alerts arrive"}
    return alert_fields(AlertType.CANARY, Severity.INFO, details, now_epoch)


def tell(environ: Mapping[str, str], fields: Mapping[str, str]) -> str:
    """Where it went: `stream` or `drop`. Raises OSError when it could go nowhere."""
    client = redis.Redis.from_url(
        redis_url(environ),
        socket_timeout=_PATIENCE_S,
        socket_connect_timeout=_PATIENCE_S,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        client.xadd(keys.ALERTS, dict(fields.items()))
    except (redis.RedisError, OSError) as error:
        print(f"Redis did not take it ({type(error).__name__}): it goes to the courier directly")
        return _drop(environ, fields)
    return "stream"


def _drop(environ: Mapping[str, str], fields: Mapping[str, str]) -> str:
    """On the disk, or in memory when the disk is full: which may be why Redis is gone."""
    in_memory = runtime_directory(environ)
    try:
        drop.put(state_directory(environ), fields)
    except OSError:
        if in_memory is None:
            raise
        drop.put(in_memory, fields)
        return "drop in memory"
    return "drop"


def main(environ: Mapping[str, str], arguments: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    match words:
        case ["failed", unit]:
            fields = failed(unit, environ, time.time())
        case ["canary"]:
            fields = canary(time.time())
        case _:
            raise ConfigError("usage: raise_alert failed UNIT | canary")
    print(f"{fields['alert_type']} {fields['alert_id']}: {tell(environ, fields)}")
    return 0


if __name__ == "__main__":
    run_service(main)
