"""How long plans and exits take, by the ids of stream entries: Redis's own clock, in
milliseconds, at both ends. The executor does nothing for it.
"""

from __future__ import annotations

import collections
from typing import Any, Final

import redis

from quantum_exit import keys

PAGE: Final = 1000
"""Entries of a stream in one look. In a flood the rest is skipped: counts are exact elsewhere."""
REMEMBERED: Final = 20_000
_LOOK_BACK_MS: Final = 120_000
"""Plans live for 60 s: those of the last two minutes may still get their result."""
LONGEST_ID: Final = 128
"""A plan's or an intent's: a longer one is none, and would only fill the memory."""
_EXIT: Final = "exit-"  # what the Apply Layer names the owner's plans by: exit-<intent_id>


class Arrivals(collections.OrderedDict[str, int]):
    """Id -> when it came, ms; the oldest are forgotten."""

    def note(self, name: str, at_ms: int) -> None:
        if len(name) > LONGEST_ID:
            return
        self.setdefault(name, at_ms)
        if len(self) > REMEMBERED:
            self.popitem(last=False)


class Latencies:
    """Belongs to one thread. `look` raises redis.RedisError; call it about once a second."""

    def __init__(self, plan_seconds: Any, exit_seconds: Any) -> None:
        """Histograms of prometheus_client, the first with the label `decision`."""
        self._plan_seconds = plan_seconds
        self._exit_seconds = exit_seconds
        self._cursors: dict[str, str] = {}
        self._plans = Arrivals()
        self._intents = Arrivals()
        self.skipped = 0

    def look(self, bus: redis.Redis) -> int:
        """Results first: the plan of each of them is then among those read after. Returns how
        many results there were."""
        results = self._read(bus, keys.APPLY_RESULT)
        for stream in (keys.APPLY_PLAN, keys.APPLY_PLAN_MANUAL):
            for entry_id, fields in self._read(bus, stream):
                self._plans.note(fields.get("plan_id", ""), _ms(entry_id))
        for entry_id, fields in self._read(bus, keys.EXIT_INTENT):
            self._intents.note(fields.get("intent_id", ""), _ms(entry_id))
        for entry_id, fields in results:
            self._observe(_ms(entry_id), fields)
        return len(results)

    def _observe(self, at_ms: int, result: dict[str, str]) -> None:
        plan_id = result.get("plan_id", "")
        began = self._plans.pop(plan_id, None)
        if began is not None:
            decision = result.get("decision", "").lower()
            self._plan_seconds.labels(decision).observe(max(0, at_ms - began) / 1000)
        asked = self._intents.get(plan_id.removeprefix(_EXIT))
        if asked is not None and plan_id.startswith(_EXIT) and result.get("executed") == "true":
            self._exit_seconds.observe(max(0, at_ms - asked) / 1000)

    def _read(self, bus: redis.Redis, stream: str) -> list[tuple[str, dict[str, str]]]:
        """What came since the last look. A stream that was made anew is read from now on."""
        newest: Any = bus.xrevrange(stream, count=1)
        newest_id = newest[0][0] if newest else "0-0"
        cursor = self._cursors.get(stream)
        if cursor is None or _order(newest_id) < _order(cursor):
            # Its results before now are not ours; its plans may have theirs still to come.
            back = stream != keys.APPLY_RESULT and newest_id != "0-0"
            cursor = f"{max(0, _ms(newest_id) - _LOOK_BACK_MS)}-0" if back else newest_id
        page: Any = bus.xrange(stream, min=f"({cursor}", count=PAGE)
        if len(page) == PAGE:
            self.skipped += 1
            self._cursors[stream] = newest_id
        else:
            self._cursors[stream] = page[-1][0] if page else cursor
        return list(page)


def _ms(entry_id: str) -> int:
    return int(entry_id.partition("-")[0])


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)
