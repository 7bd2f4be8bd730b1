"""Keeps a stream from growing for ever without deleting what somebody has still to read."""

from __future__ import annotations

from typing import Any, Final

from quantum_exit.bus.connection import RedisClient

KEEP: Final = 120_000
"""Streams keep at least 100,000 entries; the rest is slack for the approximate trim."""
_TRIM_ABOVE: Final = 150_000


def trim(redis: RedisClient, stream: str) -> int:
    """Drops the oldest entries, but only when every group has read and acknowledged far
    beyond them. Returns how many went."""
    if redis.xlen(stream) <= _TRIM_ABOVE:
        return 0
    groups: list[dict[str, Any]] = redis.xinfo_groups(stream)
    behind = max((_behind(group) for group in groups), default=0)
    if behind > KEEP // 2:
        return 0
    return int(redis.xtrim(stream, maxlen=KEEP, approximate=True))


def _behind(group: dict[str, Any]) -> int:
    """Entries unread or unacknowledged. Redis does not always know: then nothing is trimmed."""
    lag = group.get("lag")
    return KEEP if lag is None else int(lag) + int(group["pending"])
