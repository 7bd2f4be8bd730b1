"""Plans that wait for their permit. None of them delays another plan.

An event says at once when a permit was written; every permit is also looked for every
250 ms and at the deadline, because other systems write permits without an event.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final

import redis

from quantum_exit import keys
from quantum_exit.bus.connection import RedisClient
from quantum_exit.executor.work import Work
from quantum_exit.gates.model import Denial, Order
from quantum_exit.gates.permit import MISSING, Permit, parse_permit, permit, permit_for

RECHECK_S: Final = 0.25

Verdict = Callable[[Work, "Order | Denial"], None]


def read_permits(client: RedisClient, plan_ids: list[str]) -> dict[str, Permit | None]:
    """One round trip. A permit may be a string (JSON) or a hash."""
    pipe = client.pipeline(transaction=False)
    for plan_id in plan_ids:
        pipe.get(keys.permit(plan_id))
        pipe.hgetall(keys.permit(plan_id))
    answers = pipe.execute(raise_on_error=False)
    found: dict[str, Permit | None] = {}
    for plan_id, text, fields in zip(plan_ids, answers[0::2], answers[1::2], strict=True):
        for answer in (text, fields):
            if isinstance(answer, Exception) and not isinstance(answer, redis.ResponseError):
                raise answer
        if isinstance(text, bytes):
            found[plan_id] = parse_permit(text)
        elif isinstance(fields, dict) and fields:
            found[plan_id] = parse_permit({_text(k): _text(v) for k, v in fields.items()})
        else:
            found[plan_id] = None
    return found


class WaitingRoom:
    """`decide` gets each plan exactly once: with its final order, or with a denial."""

    def __init__(
        self,
        decide: Verdict,
        wait_s: float,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._decide = decide
        self._wait_s = wait_s
        self._wall = wall
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._deciding = threading.Lock()
        self._by_plan_id: dict[str, list[tuple[Work, float]]] = {}

    def enter(self, works: list[Work], client: RedisClient) -> None:
        """A permit that the work already has is enough. The others are registered before
        they are looked for, so that an event in between is not lost."""
        deadline = self._monotonic() + self._wait_s
        waiting: dict[str, None] = {}
        with self._deciding:
            for work in works:
                plan_id = work.claim.plan.plan_id
                verdict = _verdict(work, work.permit, self._wall())
                if isinstance(verdict, Denial) or plan_id in waiting:
                    waiting[plan_id] = None
                    with self._lock:
                        self._by_plan_id.setdefault(plan_id, []).append((work, deadline))
                else:
                    self._decide(work, verdict)
        self.look(client, list(waiting))

    def look(self, client: RedisClient, plan_ids: list[str] | None = None) -> None:
        """Looks for the permits of these plans, or of all that wait."""
        if plan_ids is None:
            with self._lock:
                plan_ids = list(self._by_plan_id)
        if not plan_ids:
            return
        permits = read_permits(client, plan_ids)
        denials: list[tuple[Work, Denial]] = []
        with self._deciding:  # one looker after another: orders of one symbol keep their order
            for plan_id, found in permits.items():
                for work, verdict in self._ripe(plan_id, found):
                    work.permit = found
                    if isinstance(verdict, Denial):
                        denials.append((work, verdict))
                    else:
                        self._decide(work, verdict)
        for work, denial in denials:
            self._decide(work, denial)

    def waits_for(self, plan_id: str) -> bool:
        with self._lock:
            return plan_id in self._by_plan_id

    def __len__(self) -> int:
        return len(self._by_plan_id)

    def _ripe(self, plan_id: str, found: Permit | None) -> list[tuple[Work, Order | Denial]]:
        """Takes out what is decided: it has its permit, is refused, or its time is over."""
        now_mono, now_epoch = self._monotonic(), self._wall()
        ripe: list[tuple[Work, Order | Denial]] = []
        stay: list[tuple[Work, float]] = []
        with self._lock:
            for work, deadline in self._by_plan_id.pop(plan_id, []):
                verdict = _verdict(work, found, now_epoch)
                if verdict is MISSING and now_mono < deadline:
                    stay.append((work, deadline))
                else:
                    ripe.append((work, verdict))
            if stay:
                self._by_plan_id[plan_id] = stay
        return ripe


def _verdict(work: Work, found: Permit | None, now_epoch: float) -> Order | Denial:
    entry = work.entry
    own = permit_for(work.claim, entry.stream, entry.entry_id, found)
    return permit(work.claim, work.order, own, now_epoch)


def listen(
    room: WaitingRoom, client: RedisClient, stop: threading.Event, subscribed: threading.Event
) -> None:
    """The thread that hears of permits. Raises redis.RedisError when Redis goes away."""
    untyped: Any = client
    with untyped.pubsub(ignore_subscribe_messages=True) as channel:
        channel.subscribe(keys.PERMIT_READY_CHANNEL)
        subscribed.set()
        next_look = 0.0
        while not stop.is_set():
            message = channel.get_message(timeout=RECHECK_S)
            if message is not None:
                plan_id = _text(message["data"])
                if room.waits_for(plan_id):
                    room.look(client, [plan_id])
            now = time.monotonic()
            if now >= next_look:
                room.look(client)
                next_look = now + RECHECK_S


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
