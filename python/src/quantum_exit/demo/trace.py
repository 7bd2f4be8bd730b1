"""Follows one exit through the streams: intent, plan, permit, result."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import redis

from quantum_exit import keys
from quantum_exit.bus.connection import connect
from quantum_exit.proofs.observe import load_json

Fields = Mapping[str, str]


def id_ms(entry_id: str) -> float:
    """When Redis took the entry, Unix milliseconds."""
    return float(entry_id.partition("-")[0])


Entry = tuple[str, Fields]
"""A stream entry: its id and its fields."""


@dataclass(slots=True)
class Seen:
    """The owner's entries for the symbol; `shadow`: what a brain in SHADOW would have asked."""

    intents: dict[str, Entry] = field(default_factory=dict)
    plans: dict[str, Entry] = field(default_factory=dict)
    results: list[tuple[Entry, Entry]] = field(default_factory=list)
    """Each with its plan before it, oldest first."""
    shadow: Entry | None = None

    def intent_of(self, plan: Entry) -> Entry | None:
        """The signed intent that the plan carries."""
        carried = load_json(plan[1].get("intent"))
        intent_id = carried.get("intent_id") if isinstance(carried, dict) else None
        return self.intents.get(str(intent_id))


@dataclass(slots=True)
class _Cursor:
    stream: str
    last_id: str


@dataclass(slots=True)
class Tracer:
    """Looks at what is new for `symbol` since it was made. `bus` speaks str."""

    bus: redis.Redis
    symbol: str
    owner: str
    seen: Seen = field(default_factory=Seen)
    _cursors: dict[str, _Cursor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        streams = (keys.EXIT_INTENT, keys.EXIT_SHADOW, keys.APPLY_PLAN, keys.APPLY_RESULT)
        for stream in streams:
            newest = cast("list[Any]", self.bus.xrevrange(stream, count=1))
            self._cursors[stream] = _Cursor(stream, newest[0][0] if newest else "0-0")

    def look(self) -> Seen:
        """Read on. Raises redis.RedisError."""
        seen = self.seen
        for entry in self._new(keys.EXIT_SHADOW):
            seen.shadow = seen.shadow or entry
        for entry in self._new(keys.EXIT_INTENT):
            if entry[1].get("source") == self.owner and entry[1].get("action", "").endswith(
                "CLOSE"
            ):
                seen.intents[entry[1].get("intent_id", "")] = entry
        for entry in self._new(keys.APPLY_PLAN):
            if entry[1].get("source") == self.owner and entry[1].get("type") == "MARKET":
                seen.plans[entry[1].get("plan_id", "")] = entry
        for entry in self._new(keys.APPLY_RESULT):
            plan = seen.plans.get(entry[1].get("plan_id", ""))
            if plan:
                seen.results.append((plan, entry))
        return seen

    def _new(self, stream: str) -> list[Entry]:
        cursor = self._cursors[stream]
        page = cast("list[Any]", self.bus.xrange(stream, min=f"({cursor.last_id}", count=1000))
        if page:
            cursor.last_id = page[-1][0]
        return [(entry_id, f) for entry_id, f in page if f.get("symbol") == self.symbol]


class PermitEar(threading.Thread):
    """Notes when the permit of a plan was announced. Hears nothing where that is not allowed."""

    def __init__(self, redis_url: str, now_ms: Any) -> None:
        super().__init__(daemon=True)
        self.heard_ms: dict[str, float] = {}
        self._url = redis_url
        self._now_ms = now_ms

    def run(self) -> None:
        try:
            # redis-py leaves this one without types
            channel: Any = connect(self._url, decode=True, block_s=600).pubsub()  # type: ignore[no-untyped-call]
            channel.subscribe(keys.PERMIT_READY_CHANNEL)
            for message in channel.listen():
                if message["type"] == "message":
                    self.heard_ms[str(message["data"])] = self._now_ms()
        except redis.RedisError:
            return
