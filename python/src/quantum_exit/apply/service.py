"""The Apply Layer's loop: read an intent, look, judge, publish its plan and acknowledge."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from redis.exceptions import NoPermissionError, RedisError

from quantum_exit import keys
from quantum_exit.apply.config import ApplyConfig
from quantum_exit.apply.plans import new_plan
from quantum_exit.apply.rules import Judgement, Verdict
from quantum_exit.bus.connection import connect
from quantum_exit.bus.consumer import Entry, GroupReader
from quantum_exit.bus.heartbeat import Heartbeat
from quantum_exit.bus.refusals import is_wrong_type
from quantum_exit.bus.trimming import trim
from quantum_exit.delegation import Delegation, parse_delegation
from quantum_exit.messages import ExitIntent, Malformed, decode_fields, parse_intent
from quantum_exit.policy.reader import ValidPolicy, read_policy
from quantum_exit.sanity.snapshot import PositionView, view_position
from quantum_exit.systemd import Notifier
from quantum_exit.values import Unknown

log = logging.getLogger("quantum_exit.apply")

SERVICE: Final = "apply_layer"
METRICS: Final = "quantum:apply:metrics"
BATCH: Final = 100
BLOCK_MS: Final = 400
BEAT_EVERY_S: Final = 0.5
RETRY_EVERY_S: Final = 0.5
TRIM_EVERY_S: Final = 60.0
LOOK_AGAIN_EVERY_MS: Final = 50
LOOK_AGAIN_FOR_S: Final = 1.5
"""P3.3 writes its snapshots every second: by then there is one younger than the intent."""

UNREADABLE: Final = object()


@dataclass(slots=True)
class _Waiting:
    """An intent that looks wrong by an observation older than itself."""

    entry: Entry
    until_mono: float


class ApplyService:
    def __init__(
        self,
        config: ApplyConfig,
        notifier: Notifier,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._notifier = notifier
        self._wall = wall
        self._monotonic = monotonic
        self._redis = connect(config.redis_url, block_s=BLOCK_MS / 1000, name=SERVICE)
        self._reader = GroupReader(
            self._redis, streams=[keys.EXIT_INTENT], group=keys.GROUP_APPLY, consumer=SERVICE
        )
        script = (files("quantum_exit.apply") / "plan.lua").read_text()
        self._publish = self._redis.register_script(script)
        self._heartbeat = Heartbeat(self._redis, SERVICE, wall())
        self._waiting: list[_Waiting] = []
        self._next_beat = 0.0
        self._next_trim = 0.0
        self._deleted_said = 0

    def run(self, stopping: Callable[[], bool]) -> None:
        """Until `stopping()`. Survives any failure of Redis."""
        self._notifier.ready()
        while not stopping():
            self._notifier.watchdog()
            try:
                self._beat_if_due()
                self._step()
                self._trim_if_due()
            except (RedisError, OSError) as error:
                self._notifier.status(f"not ready: Redis: {error}")
                log.error("Redis: %s; intents wait in their stream", error)
                self._waiting.clear()  # they are pending, and come again
                self._reader.reset()
                self._next_beat = 0.0
                time.sleep(RETRY_EVERY_S)
        self._notifier.stopping()

    def _step(self) -> None:
        block_ms = LOOK_AGAIN_EVERY_MS if self._waiting else BLOCK_MS
        for entry in self._reader.read(count=BATCH, block_ms=block_ms):
            until = self._monotonic() + LOOK_AGAIN_FOR_S
            if not self._handle(entry, patient=True):
                self._waiting.append(_Waiting(entry, until))
        self._say_deleted()
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not self._handle(one.entry, patient=self._monotonic() < one.until_mono):
                self._waiting.append(one)

    def _handle(self, entry: Entry, *, patient: bool) -> bool:
        """False: nothing done yet, look again soon."""
        decoded = decode_fields(entry.fields)
        intent = decoded if isinstance(decoded, Malformed) else parse_intent(decoded)
        delegation, position = self._look(intent)
        now_epoch = self._wall()
        judgement = self._config.rules.judge(
            intent, delegation=delegation, position=position, now_epoch=now_epoch
        )
        if patient and not judgement.certain:
            return False
        plan = new_plan(
            intent,
            judgement,
            entry.fields,
            entry.entry_id,
            now_epoch,
            owner=self._config.rules.owner,
        )
        pairs = [text for pair in plan.fields.items() for text in pair]
        published = self._publish(
            keys=[plan.done_key, keys.EXIT_INTENT, keys.APPLY_PLAN, METRICS],
            args=[
                *(keys.GROUP_APPLY, entry.entry_id, plan.done_ttl_s, judgement.verdict.value),
                *pairs,
            ],
        )
        if published:
            self._log(plan.fields, judgement)
        return True

    def _look(self, intent: ExitIntent | Malformed) -> tuple[Delegation | None, PositionView]:
        """One round trip. A key of the wrong type is unreadable, not a lost intent."""
        if isinstance(intent, Malformed):
            return None, Unknown("no intent")
        delegation_key = keys.delegation(intent.source)
        pipe = self._redis.pipeline(transaction=False)
        pipe.get(delegation_key)
        pipe.pttl(delegation_key)
        pipe.hgetall(keys.snapshot(intent.symbol))
        pipe.hgetall(keys.SNAPSHOT_STATE)
        value, ttl_ms, row, state = _execute(pipe)
        delegation = None if value is UNREADABLE else parse_delegation(value, ttl_ms)
        if row is UNREADABLE:
            return delegation, Unknown("unreadable snapshot")
        known_of_all = {} if state is UNREADABLE else state
        return delegation, view_position(intent.symbol, row, known_of_all, self._wall())

    def _log(self, plan: Mapping[str, str], judgement: Judgement) -> None:
        if judgement.verdict is Verdict.NOT_OWNER:
            log.warning(
                "🚫 DENY_NOT_EXIT_OWNER: %s attempted reduceOnly order on %s (only %s authorized)",
                plan["source"],
                plan["symbol"],
                self._config.rules.owner,
            )
        level = logging.INFO if judgement.verdict is Verdict.PLANNED else logging.WARNING
        log.log(
            level,
            "plan %s %s %s %s qty=%s source=%s reason=%s",
            *(plan["plan_id"], plan["decision"], plan["symbol"], plan.get("action", "")),
            *(plan["qty"], plan["source"], plan["reason"]),
        )

    def _say_deleted(self) -> None:
        deleted = self._reader.deleted_unread - self._deleted_said
        if deleted:
            self._deleted_said += deleted
            log.error("%d intents were trimmed away before they became plans", deleted)
            self._redis.hincrby(METRICS, "lost_entries", deleted)

    def _trim_if_due(self) -> None:
        now = self._monotonic()
        if now >= self._next_trim:
            self._next_trim = now + TRIM_EVERY_S
            trim(self._redis, keys.EXIT_INTENT)

    def _beat_if_due(self) -> None:
        now = self._monotonic()
        if now < self._next_beat:
            return
        self._next_beat = now + BEAT_EVERY_S
        missing = self._config.missing_key
        ready = not missing
        status = "ready" if ready else f"not ready: {missing} is missing, every exit is refused"
        self._heartbeat.beat(
            self._wall(), ready=ready, status=status, extra={"policy": self._policy_word()}
        )
        self._notifier.status(status)

    def _policy_word(self) -> str:
        """For people: it refuses no exit."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.hgetall(keys.POLICY_CURRENT)
        (raw,) = _execute(pipe)
        if raw is UNREADABLE:
            return "malformed"
        policy = read_policy(raw, self._wall())
        if isinstance(policy, Unknown):
            return policy.why
        return "valid" if isinstance(policy, ValidPolicy) else "stale"


def _execute(pipe: Any) -> list[Any]:
    """The answers; UNREADABLE for a key of another type, or one that we may not read."""
    answers = []
    for answer in pipe.execute(raise_on_error=False):
        if isinstance(answer, Exception):
            if not isinstance(answer, NoPermissionError) and not is_wrong_type(answer):
                raise answer
            answer = UNREADABLE
        answers.append(answer)
    return answers
