"""Connections to Redis without any client-side retry.

A retried XADD writes two entries and a retried blocking read orphans one, so nothing is
repeated here: a lost connection raises, and the caller resumes from what Redis says.
"""

from __future__ import annotations

from typing import Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

SOCKET_TIMEOUT_S: Final = 5.0
CONNECT_TIMEOUT_S: Final = 2.0

RedisClient = redis.Redis  # with decode_responses=False unless said otherwise


def connect(url: str, *, block_s: float = 0.0, decode: bool = False, name: str = "") -> RedisClient:
    """A client whose socket waits longer than the server may block (`block_s`, seconds)."""
    return redis.Redis.from_url(
        url,
        decode_responses=decode,
        # Producers write what they like: one byte that is no text must not end who reads it.
        encoding_errors="replace",
        socket_timeout=block_s + SOCKET_TIMEOUT_S,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        retry_on_timeout=False,
        retry_on_error=[],
        health_check_interval=0,
        client_name=name or None,
    )
