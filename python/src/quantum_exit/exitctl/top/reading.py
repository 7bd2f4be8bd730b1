"""What `top` shows: read again and again beside the screen, and honest about its age."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import redis

from quantum_exit.bus.heartbeat import STALE_AFTER_S
from quantum_exit.exitctl import activity, status
from quantum_exit.exitctl.context import CommandError, Context

RARE_EVERY_S: Final = 5.0
_RARE_SHARE: Final = 50
"""The walk over all keys takes at most a fiftieth of the time, however many keys there are."""
_GROWS: Final = frozenset({"age_s", "read_age_s", "open_for_s", "expired_for_s"})
_SHRINKS: Final = frozenset({"left_s", "ttl_s"})

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """One look. `host` holds while Redis does not answer: what can be seen without it."""

    at_epoch: float = 0.0
    """When `status` and `lately` were read; 0: never."""
    status: Document | None = None
    lately: Document | None = None
    error: str = ""
    """Why the last look failed; empty when it did not."""
    host: Document | None = None


class Reader:
    """Looks once with `look`. Not for two threads at a time."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client: redis.Redis | None = None
        self._rare: status.Rare | None = None
        self._rare_until = 0.0
        self._last = Seen()

    def look(self) -> Seen:
        """What is there now; where Redis does not answer, what was there last, and why not."""
        try:
            self._last = self._read()
        except (CommandError, redis.RedisError) as error:
            self._client = None
            self._rare = None
            host = status.unread(self._context, error)
            last = self._last
            self._last = Seen(last.at_epoch, last.status, last.lately, str(error), host)
        return self._last

    def _read(self) -> Seen:
        if self._client is None:
            self._client = self._context.redis()
        client = self._client
        began = time.monotonic()
        if self._rare is None or began > self._rare_until:
            self._rare = status.read_rare(client)
            now = time.monotonic()
            self._rare_until = now + max(RARE_EVERY_S, (now - began) * _RARE_SHARE)
        document = status.collect(client, self._context.environ, self._rare)
        return Seen(time.time(), document, activity.collect(client))


@dataclass(slots=True)
class Watcher:
    """Looks every `every_s` in a thread of its own, so that a Redis that hangs delays no key."""

    look: Callable[[], Seen]
    every_s: float
    _latest: Seen = field(default_factory=Seen)
    _failure: BaseException | None = None
    _count: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _first: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True, name="top").start()

    def latest(self) -> tuple[int, Seen]:
        """How many looks there were, and the last one. Raises what ended the looking."""
        with self._lock:
            if self._failure is not None:
                raise self._failure
            return self._count, self._latest

    def wait_first(self, timeout_s: float) -> None:
        self._first.wait(timeout_s)

    def _run(self) -> None:
        while True:
            try:
                seen = self.look()
            except BaseException as error:  # noqa: BLE001 - raised again where the screen is
                with self._lock:
                    self._failure = error
                self._first.set()
                return
            with self._lock:
                self._latest = seen
                self._count += 1
            self._first.set()
            time.sleep(self.every_s)


def aged(document: Document, by_s: float) -> Document:
    """The same, `by_s` seconds later: what was fresh when it was read need not be any more."""
    grown: Document = _later(document, by_s)
    for service in grown.get("services", {}).values():
        age_s = service.get("age_s")
        if age_s is not None and age_s > STALE_AFTER_S and service["fresh"]:
            service |= {"ready": False, "fresh": False, "status": "not heard since"}
    return grown


def _later(value: Any, by_s: float) -> Any:
    if isinstance(value, Mapping):
        return {name: _moved(name, _later(item, by_s), by_s) for name, item in value.items()}
    if isinstance(value, list):
        return [_later(item, by_s) for item in value]
    return value


def _moved(name: str, value: Any, by_s: float) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if name in _GROWS:
            return value + by_s
        if name in _SHRINKS:
            return max(value - by_s, 0)
    return value
