"""Reading streams through a consumer group, resuming from what Redis says is pending.

At the start, and again after `reset()`, everything delivered but never acknowledged comes
first, whoever it was delivered to: a service has one reader at a time, and what a killed
predecessor held is ours now. Handling an entry twice must therefore be harmless; make the
effect and the acknowledgement one atomic step, or dedupe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from redis.exceptions import ResponseError

from quantum_exit.bus.connection import RedisClient

_FROM_THE_FIRST_ENTRY: Final = "0"  # "$" would skip what arrived before the first start
_SCAN_START: Final = "0-0"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as it lies in the stream."""

    stream: str
    entry_id: str
    fields: Mapping[bytes, bytes]


class GroupReader:
    """One consumer of one group on one or more streams.

    `redis` must not decode responses and its socket must wait longer than `block_ms`.
    Every method raises redis.RedisError when Redis does not answer as it should.
    """

    def __init__(
        self, redis: RedisClient, *, streams: Sequence[str], group: str, consumer: str
    ) -> None:
        self._redis = cast(Any, redis)
        self._streams = tuple(streams)
        self._group = group
        self._consumer = consumer
        self._pending_from: dict[str, str] = {}
        self._joined = False
        self.groups_created = 0
        """More than at the first start of all: the group, or Redis itself, was lost."""
        self.deleted_unread = 0
        """Entries that were trimmed away while they were pending: their effect is unknown."""

    def reset(self) -> None:
        """Begin anew with what is pending; call it after any failure of Redis."""
        self._joined = False

    def read(self, *, count: int, block_ms: int) -> list[Entry]:
        """Up to `count` entries (per stream when several), pending ones first; empty after
        `block_ms` without any, or when a lost group had to be made anew."""
        try:
            if not self._joined:
                self._join()
            while self._pending_from:
                if entries := self._claim(count):
                    return entries
            return self._read_new(count, block_ms)
        except ResponseError as error:
            if not _group_is_gone(error):
                raise
            self._joined = False
            return []

    def _join(self) -> None:
        for stream in self._streams:
            try:
                self._redis.xgroup_create(
                    stream, self._group, id=_FROM_THE_FIRST_ENTRY, mkstream=True
                )
                self.groups_created += 1
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise
        self._pending_from = dict.fromkeys(self._streams, _SCAN_START)
        self._joined = True

    def _claim(self, count: int) -> list[Entry]:
        """The next pending entries of the first stream that is not through yet."""
        stream, cursor = next(iter(self._pending_from.items()))
        reply = self._redis.xautoclaim(
            stream, self._group, self._consumer, min_idle_time=0, start_id=cursor, count=count
        )
        following, entries, deleted = reply[0], reply[1], reply[2]
        self.deleted_unread += len(deleted)
        if following.decode() == _SCAN_START:
            del self._pending_from[stream]
        else:
            self._pending_from[stream] = following.decode()
        return [_entry(stream, raw) for raw in entries]

    def _read_new(self, count: int, block_ms: int) -> list[Entry]:
        reply = self._redis.xreadgroup(
            self._group,
            self._consumer,
            dict.fromkeys(self._streams, ">"),
            count=count,
            block=block_ms or None,  # to Redis 0 means for ever
        )
        return [_entry(name.decode(), raw) for name, entries in reply or () for raw in entries]


def _entry(stream: str, raw: tuple[bytes, Mapping[bytes, bytes] | None]) -> Entry:
    return Entry(stream, raw[0].decode(), raw[1] or {})


def _group_is_gone(error: ResponseError) -> bool:
    """The stream or the group was deleted, before our read or while it waited."""
    return str(error).startswith(("NOGROUP", "UNBLOCKED"))
