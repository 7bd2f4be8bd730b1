"""A period of the streams, read in small steps so that trading is not held up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import redis

from quantum_exit import keys
from quantum_exit.exitctl.activity import Entry, at_epoch
from quantum_exit.exitctl.status import scan

MOST: Final = 50_000
"""Entries read of one stream, the newest. A flood of denials must not fill our memory."""
_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Streams:
    """Entries of the period, oldest first."""

    intents: tuple[Entry, ...]
    shadows: tuple[Entry, ...]
    plans: tuple[Entry, ...]
    results: tuple[Entry, ...]
    alerts: tuple[Entry, ...]
    cut: Mapping[str, float]
    """Streams of which only the newest were read: since when, Unix seconds."""
    drills: frozenset[str]
    """Ids of plans that a proof registered as its own."""


def read(client: redis.Redis, since_epoch: float) -> Streams:
    """Raises redis.RedisError."""
    cut: dict[str, float] = {}

    def of(*names: str) -> tuple[Entry, ...]:
        found: list[Entry] = []
        for name in names:
            entries, whole = newest(client, name, since_epoch)
            found += entries
            if not whole:
                cut[name] = at_epoch(entries[-1][0])
        return tuple(sorted(found, key=lambda entry: at_epoch(entry[0])))

    return Streams(
        intents=of(keys.EXIT_INTENT),
        shadows=of(keys.EXIT_SHADOW),
        plans=of(keys.APPLY_PLAN, keys.APPLY_PLAN_MANUAL),
        results=of(keys.APPLY_RESULT),
        alerts=of(keys.ALERTS),
        cut=cut,
        drills=_drills(client),
    )


def newest(client: redis.Redis, name: str, since_epoch: float) -> tuple[list[Entry], bool]:
    """Newest first, and whether that is all of the period."""
    since, before = f"{int(since_epoch * 1000)}-0", "+"
    found: list[Entry] = []
    while True:
        page = cast("list[Any]", client.xrevrange(name, max=before, min=since, count=_PAGE))
        found += page
        if len(page) < _PAGE:
            return found, True
        if len(found) >= MOST:
            return found, False
        before = f"({page[-1][0]}"


def _drills(client: redis.Redis) -> frozenset[str]:
    """A plan's name proves nothing: only the operator's user can have registered the id."""
    prefix = keys.drill("")
    return frozenset(key.removeprefix(prefix) for key in scan(client, f"{prefix}*"))
