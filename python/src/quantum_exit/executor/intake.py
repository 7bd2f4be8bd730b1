"""From a stream's entries to plans that are denied at once, or wait for their permit.

One reader a lane. A batch costs one round trip to look at the world, and one to settle what
was denied, on another thread, however many plans it holds.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Any, Final

import redis

from quantum_exit.bus.connection import RedisClient
from quantum_exit.bus.line import Line, as_map
from quantum_exit.executor import failpoints
from quantum_exit.executor.context import Context
from quantum_exit.executor.observer import Observer
from quantum_exit.executor.renewal import refuse_the_last, renew
from quantum_exit.executor.result import of_denial, of_refused
from quantum_exit.executor.settler import Settler
from quantum_exit.executor.store import Ending, Entry, Store
from quantum_exit.executor.waiting import WaitingRoom
from quantum_exit.executor.work import Work, slim
from quantum_exit.gates.authority import examine
from quantum_exit.gates.chain import judge
from quantum_exit.gates.model import Claim, Denial, Lane, Observed, Order, Outcome
from quantum_exit.gates.steps import CLOCK_SKEW_S
from quantum_exit.messages import Malformed, decode_fields, parse_plan

log = logging.getLogger(__name__)

BATCH: Final = 100
BLOCK_S: Final = 0.25
"""How long one read waits: a stop in order takes no longer than this."""
CONSUMER: Final = "intent_executor"
"""One stable name: leadership is exclusive, so what is pending under it is ours."""
_SAME_MOMENT_S: Final = 0.05
"""Redis's idea of now may be a little behind the clock by which a plan was just dated."""

RawEntry = tuple[bytes, dict[bytes, bytes] | None]


@dataclass(slots=True)
class _Batch:
    """What became of the entries of one read."""

    endings: list[Ending] = field(default_factory=list)
    duplicates: list[Entry] = field(default_factory=list)
    claims: list[tuple[Claim, Entry]] = field(default_factory=list)
    waiting: list[Work] = field(default_factory=list)


class Intake:
    """Belongs to one thread."""

    def __init__(
        self,
        context: Context,
        room: WaitingRoom,
        settler: Settler,
        redis: RedisClient,
        *,
        lane: Lane,
        stream: str,
        group: str,
        trusted_since: float,
    ) -> None:
        self._context = context
        self._room = room
        self._settler = settler
        self._redis = redis
        self._line = Line(redis)
        self._observer = Observer(self._line, context.market, context.tape)
        self._store = Store(redis, self._line)
        self._lane = lane
        self.stream = stream
        self._group = group
        self._trusted_since = trusted_since
        self._read_command = (
            *("XREADGROUP", "GROUP", group, CONSUMER, "COUNT", BATCH),
            *("BLOCK", int(BLOCK_S * 1000), "STREAMS", stream, ">"),
        )

    def ensure_group(self) -> None:
        """From the beginning of the stream: what was sent before our first start counts."""
        try:
            self._redis.xgroup_create(self.stream, self._group, id="0", mkstream=True)
        except redis.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def renew_stream(self) -> int | None:
        """See `renew`; the manual lane's stream, which producers cannot write, stays as it is."""
        if self._lane is Lane.MANUAL:
            return None
        return renew(self._redis, self.stream, self._group)

    def claim_pending(self, idle_s: float = 0) -> list[bytes]:
        """Takes over what was delivered that long ago and not acknowledged, whoever had it, but
        what is on its way here; returns the ids whose entries no longer exist (the stream was
        trimmed)."""
        cursor: bytes | str = "0-0"
        lost: list[bytes] = []
        while True:
            answer: Any = self._redis.xautoclaim(
                self.stream,
                self._group,
                CONSUMER,
                min_idle_time=int(idle_s * 1000),
                start_id=cursor,
                count=BATCH,
            )
            cursor, entries, deleted = answer[0], answer[1], answer[2]
            lost += deleted
            self.take(entries)
            if cursor in (b"0-0", "0-0"):
                return lost

    def read(self) -> None:
        """One blocking read and what follows from it. Raises redis.RedisError."""
        answer = self._line.call(*self._read_command)
        streams = answer.values() if isinstance(answer, dict) else [s[1] for s in answer or ()]
        for entries in streams:
            self.take([(entry_id, as_map(flat)) for entry_id, flat in entries])
            if entries:
                refuse_the_last(self.stream, entries[-1][0])

    def take(self, raw_entries: list[RawEntry]) -> None:
        batch = _Batch()
        for raw_id, fields in raw_entries:
            entry = Entry(self.stream, self._group, raw_id.decode())
            if fields is not None and not self._context.in_flight.holds(
                entry.stream, entry.entry_id
            ):
                self._read_form(entry, fields, batch)
        if batch.claims:
            self._judge(batch)
        failpoints.hit("after_judge")
        if batch.endings:
            self._settler.put(batch.endings)
        if batch.duplicates:
            self._store.acknowledge_duplicates(batch.duplicates)
        if batch.waiting:
            self._room.enter(batch.waiting, self._redis)

    def _read_form(self, entry: Entry, raw: dict[bytes, bytes], batch: _Batch) -> None:
        """The first gate: what is no plan is answered and acknowledged like any other."""
        fields = decode_fields(raw)
        plan = fields if isinstance(fields, Malformed) else parse_plan(fields)
        if isinstance(plan, Malformed):
            denial = Denial(Outcome.ERROR, plan.error)
            result = of_denial(denial, plan.fields, self._lane.value)
            batch.endings.append(Ending(entry, "", result))
            return
        gates = self._context.settings.gates
        claim = examine(plan, self._lane, gates.owner, self._context.settings.verifier)
        batch.claims.append((claim, entry))

    def _judge(self, batch: _Batch) -> None:
        looked_at = time.monotonic()
        self._observer.look([claim for claim, _ in batch.claims], permits=True)
        for claim, entry in batch.claims:
            known = self._observer.is_done(claim)
            if known or not self._context.in_flight.admit(claim.identity, entry):
                batch.duplicates.append(entry)
                continue
            seen, verdict = self._verdict(claim)
            if isinstance(verdict, Denial):
                self._context.note_denial(claim, verdict)
                result = of_refused(verdict, claim)
                batch.endings.append(Ending(entry, claim.identity, result))
            else:
                doubtful = self._may_be_forgotten(float(claim.plan.timestamp), entry)
                work = Work(slim(claim), entry, verdict, seen, looked_at, look_first=doubtful)
                work.permit = self._observer.permit(claim)
                batch.waiting.append(work)

    def _may_be_forgotten(self, dated: float, entry: Entry) -> bool:
        """Whether this plan may have been sent before Redis lost what it knew. Its producer's
        clock may be ahead, by as much as the age gate lets pass: then its date proves nothing."""
        added = int(entry.entry_id.partition("-")[0]) / 1000
        proves_nothing = dated > added + _SAME_MOMENT_S
        since = self._trusted_since
        return min(dated, added) < since or (proves_nothing and dated < since + CLOCK_SKEW_S)

    def _verdict(self, claim: Claim) -> tuple[Observed | None, Order | Denial]:
        """A gate that fails on a plan denies that plan: it must not stop the ones behind it."""
        try:
            seen = self._observer.observed(claim)
            return seen, judge(claim, seen, self._context.settings.gates)
        except Exception as error:
            log.exception("a gate failed on plan %s", claim.plan.plan_id)
            return None, Denial(Outcome.ERROR, f"internal_error:{type(error).__name__}")
