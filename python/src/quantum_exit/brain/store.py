"""The brain's state in Redis, and the one atomic step that writes state and intents together.

After a lost connection nobody knows whether the last step was taken: the caller loads the
state anew and goes on from there, whichever it was.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

import redis as redis_module

from quantum_exit import keys
from quantum_exit.alerts.model import alert_fields
from quantum_exit.brain.engine import Mode, Wish
from quantum_exit.brain.news import Alert
from quantum_exit.brain.results import PlanResult, read_result
from quantum_exit.brain.stops import SymbolStops, dump_stops, load_stops
from quantum_exit.brain.track import Track, dump_track, load_track
from quantum_exit.brain.watch import Book, dump_book, load_book
from quantum_exit.bus.connection import RedisClient
from quantum_exit.bus.refusals import is_wrong_type
from quantum_exit.signing import INTENT_FIELDS, Signer

log = logging.getLogger("quantum_exit.brain")

TRACKS: Final = "quantum:exitbrain:tracks"
BOOKS: Final = "quantum:exitbrain:books"
STOPS: Final = "quantum:exitbrain:stops"
META: Final = "quantum:exitbrain:meta"
_STATE: Final = (TRACKS, BOOKS, STOPS, META)
_STREAM_ID: Final = re.compile(r"\d{1,20}-\d{1,20}", re.ASCII)
STREAM_KEPT: Final = 200_000
"""Intents live a minute; this many are hours of them."""
CONTROL_KEPT: Final = 100
HOLDER: Final = "quantum:exitbrain:holder"
"""Names the one brain whose steps count."""
NO_RESULT: Final = "0-0"
_RESULTS_PER_READ: Final = 1_000


class SupersededError(Exception):
    """Another brain has taken over since; nothing of this step was written."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What the last step left. `meta` is empty where no brain has ever run."""

    tracks: Mapping[str, Track]
    books: Mapping[str, Book]
    stops: Mapping[str, SymbolStops]
    meta: Mapping[str, str]
    unreadable: tuple[str, ...]
    """Symbols whose track, book or stops could not be read: they are begun anew."""
    results_missing: bool
    """Results were trimmed away since the last step: fills may have been missed."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at what others wrote."""

    kill_switch: bytes | None
    policy: Mapping[bytes, bytes]
    results: tuple[PlanResult, ...]
    cursor: str
    """Id of the last result read."""
    granted: frozenset[str] | None
    """Symbols in which an order may be on its way; None where that could not be read."""
    state_lost: bool
    """What we wrote is gone: Redis was flushed, or restored from before our time."""


@dataclass(frozen=True, slots=True)
class Commit:
    """All that one cycle writes."""

    now_epoch: float
    tracks: Mapping[str, Track]
    tracks_gone: tuple[str, ...] = ()
    books: Mapping[str, Book] = field(default_factory=dict)
    books_gone: tuple[str, ...] = ()
    stops: Mapping[str, SymbolStops] = field(default_factory=dict)
    stops_gone: tuple[str, ...] = ()
    meta: Mapping[str, str] = field(default_factory=dict)
    wishes: tuple[Wish, ...] = ()
    alerts: tuple[Alert, ...] = ()
    control: tuple[str, ...] = ()


class Store:
    """`redis` must return bytes, `name` be unlike that of any other brain, earlier ones too.
    Every method raises redis.RedisError."""

    def __init__(self, redis: RedisClient, signer: Signer | None, name: str) -> None:
        self._redis = redis
        self._signer = signer
        self._name = name

    def load(self) -> Saved:
        """Takes over from any other brain: what that one means to write from now on is void."""
        self._redis.set(HOLDER, self._name)
        pipe: Any = self._redis.pipeline(transaction=True)
        for key in _STATE:
            pipe.hgetall(key)
        answers = zip(_STATE, pipe.execute(raise_on_error=False), strict=True)
        raw_tracks, raw_books, raw_stops, raw_meta = (self._hash(*one) for one in answers)
        tracks, bad_tracks = _parsed(raw_tracks, load_track)
        books, bad_books = _parsed(raw_books, load_book)
        stops, bad_stops = _parsed(raw_stops, load_stops)
        meta = {k.decode(): v.decode("utf-8", "replace") for k, v in raw_meta.items()}
        if not _STREAM_ID.fullmatch(meta.get("cursor", NO_RESULT)):
            del meta["cursor"]
        cursor = meta.get("cursor", NO_RESULT)
        was_lost = "cursor" not in meta and bool(books)
        return Saved(
            tracks=tracks,
            books=books,
            stops=stops,
            meta=meta,
            unreadable=tuple(sorted({*bad_tracks, *bad_books, *bad_stops})),
            results_missing=was_lost
            or (cursor != NO_RESULT and not self._redis.xrange(keys.APPLY_RESULT, cursor, cursor)),
        )

    def _hash(self, key: str, answer: Any) -> Mapping[bytes, bytes]:
        """What lies there, and nothing where a key of another type does: it is taken away, or
        no step of ours could ever be written."""
        if isinstance(answer, Exception):
            if not is_wrong_type(answer):
                raise answer
            log.error("%s is of another type: it is deleted, and begun anew", key)
            self._redis.delete(key)
            return {}
        return dict(answer)

    def last_result_id(self) -> str:
        """Where a brain begins to read that has never read before."""
        last: Any = self._redis.xrevrange(keys.APPLY_RESULT, count=1)
        return last[0][0].decode() if last else NO_RESULT

    def say_env_kill(self, *, active: bool) -> None:
        """What the executor goes by, until a brain starts and says otherwise."""
        self._redis.set(keys.BRAIN_ENV_KILL, "true" if active else "false")

    def read(self, cursor: str) -> Reading:
        """The open grants come before the results: a grant that is settled between the two
        reads is found as a result, so no order of ours is ever in neither."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.hvals(keys.EXECUTOR_OPEN)
        pipe.xrange(keys.APPLY_RESULT, min=f"({cursor}", count=_RESULTS_PER_READ)
        pipe.hgetall(keys.POLICY_CURRENT)
        pipe.hexists(META, "cursor")
        pipe.get(keys.KILL_SWITCH)
        grants, entries, policy, kept, kill = pipe.execute(raise_on_error=False)
        if isinstance(entries, Exception):
            raise entries
        results: list[PlanResult] = []
        while entries:
            results += (read_result(fields) for _, fields in entries)
            cursor = entries[-1][0].decode()
            if len(entries) < _RESULTS_PER_READ:
                break
            entries = self._redis.xrange(
                keys.APPLY_RESULT, min=f"({cursor}", count=_RESULTS_PER_READ
            )
        return Reading(
            # A key of the wrong type, or one we may not read, is as good as missing.
            kill_switch=None if isinstance(kill, Exception) else kill,
            policy={} if isinstance(policy, Exception) else policy,
            results=self._with_marks(results),
            cursor=cursor,
            state_lost=kept is not True and kept != 1,
            granted=None if isinstance(grants, Exception) else frozenset(map(_symbol, grants)),
        )

    def _with_marks(self, results: list[PlanResult]) -> tuple[PlanResult, ...]:
        """A mark is written in one step with its result, so it is there when that is read."""
        marks = [key for result in results if (key := result.done_key)]
        if not marks:
            return tuple(results)
        pipe = self._redis.pipeline(transaction=False)
        for key in marks:
            pipe.exists(key)
        found = dict(zip(marks, pipe.execute(raise_on_error=False), strict=True))
        return tuple(replace(r, is_certain=found.get(r.done_key or "") == 1) for r in results)

    def commit(self, commit: Commit) -> None:
        """All of it, or nothing and SupersededError: two brains that were started by mistake
        never both decide."""
        pipe: Any = self._redis.pipeline(transaction=True)
        try:
            pipe.watch(HOLDER)
            holder = pipe.get(HOLDER)
            if holder is not None and holder != self._name.encode():
                raise SupersededError(holder.decode("utf-8", "replace"))
            pipe.multi()
            self._queue(pipe, commit)
            pipe.execute()
        except redis_module.WatchError:
            raise SupersededError("one that began this moment") from None
        finally:
            pipe.reset()

    def _queue(self, pipe: Any, commit: Commit) -> None:
        _replace(pipe, TRACKS, commit.tracks, commit.tracks_gone, dump_track)
        _replace(pipe, BOOKS, commit.books, commit.books_gone, dump_book)
        _replace(pipe, STOPS, commit.stops, commit.stops_gone, dump_stops)
        if commit.meta:
            pipe.hset(META, mapping=dict(commit.meta))
        pipe.set(HOLDER, self._name)
        for wish in commit.wishes:
            self._add_wish(pipe, wish)
        for alert in commit.alerts:
            fields = alert_fields(alert.type, alert.severity, alert.details, commit.now_epoch)
            pipe.xadd(keys.ALERTS, dict(fields))
        for entry in commit.control:
            pipe.lpush(keys.EXITBRAIN_CONTROL, entry)
            pipe.ltrim(keys.EXITBRAIN_CONTROL, 0, CONTROL_KEPT - 1)

    def _add_wish(self, pipe: Any, wish: Wish) -> None:
        """A shadow entry carries its mode and no signature: it must never serve as an intent."""
        fields = dict(wish.fields)
        if wish.mode is Mode.LIVE:
            if self._signer is None:
                raise redis_module.RedisError("LIVE without a signing key")
            fields["sig"] = self._signer.sign(fields, INTENT_FIELDS)
            pipe.xadd(keys.EXIT_INTENT, fields, maxlen=STREAM_KEPT, approximate=True)
        else:
            fields["mode"] = wish.mode.value
            pipe.xadd(keys.EXIT_SHADOW, fields, maxlen=STREAM_KEPT, approximate=True)


def _symbol(grant: bytes) -> str:
    """Empty for what cannot be read: it matches no symbol."""
    try:
        document = json.loads(grant)
        return str(document.get("symbol", ""))
    except (ValueError, AttributeError, RecursionError):
        return ""


Value = TypeVar("Value")


def _replace(
    pipe: Any,
    key: str,
    values: Mapping[str, Value],
    over: tuple[str, ...],
    dump: Callable[[Value], str],
) -> None:
    if values:
        pipe.hset(key, mapping={symbol: dump(value) for symbol, value in values.items()})
    if over:
        pipe.hdel(key, *over)


def _parsed(
    raw: Mapping[bytes, bytes], load: Callable[[bytes], Value]
) -> tuple[dict[str, Value], list[str]]:
    """What could be read, and the symbols of what could not."""
    found: dict[str, Value] = {}
    bad: list[str] = []
    for raw_symbol, text in raw.items():
        symbol = raw_symbol.decode("utf-8", "replace")
        try:
            found[symbol] = load(text)
        except (ValueError, KeyError, TypeError, ArithmeticError, AttributeError):
            bad.append(symbol)
    return found, bad


def changed(before: Mapping[str, Value], after: Mapping[str, Value]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for symbol, value in after.items():
        old = before.get(symbol)
        if old is not value and old != value:
            found[symbol] = value
    return found


def gone(before: Mapping[str, Value], after: Mapping[str, Value]) -> tuple[str, ...]:
    return tuple(symbol for symbol in before if symbol not in after)
