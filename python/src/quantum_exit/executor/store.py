"""The executor's atomic steps in Redis. Each method is one round trip."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from quantum_exit import keys
from quantum_exit.bus.connection import RedisClient
from quantum_exit.executor.grant import OpenGrant
from quantum_exit.executor.result import Result
from quantum_exit.kill_switch import parse_runtime

DONE_DENIED_S: Final = 3_600
"""A denied id is remembered for longer than any plan lives, but not so long that a flood of
made-up ids fills the memory."""
DONE_EXECUTED_S: Final = 7 * 86_400
INTENT_USED_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a plan came from, to acknowledge it there."""

    stream: str
    group: str
    entry_id: str


@dataclass(frozen=True, slots=True)
class Ending:
    """One plan's end, ready for the settle step."""

    entry: Entry
    identity: str
    """Empty for what is not a plan: it leaves no done mark."""
    result: Result
    ledger: tuple[str, ...] = ()
    """Names and values of the ledger fields to set; empty leaves the ledger as it is."""


class Store:
    """As thread-safe as its client, which takes a connection of the pool for each call."""

    def __init__(self, redis: RedisClient) -> None:
        self.redis = redis
        scripts = files("quantum_exit.executor") / "lua"
        self._grant = redis.register_script((scripts / "grant.lua").read_text())
        self._settle = redis.register_script((scripts / "settle.lua").read_text())

    def load_scripts(self) -> None:
        """Once per connection to a server that may have lost them."""
        for script in (self._grant, self._settle):
            self.redis.script_load(script.script)

    def grant(self, grant: OpenGrant, *, replaces: OpenGrant | None, intent_id: str) -> str:
        """`granted`, `killed`, `duplicate`, `intent_used`, `permit_gone` or `superseded`."""
        answer = self._grant(
            keys=[
                keys.KILL_SWITCH,
                keys.BRAIN_ENV_KILL,
                keys.executor_done(grant.identity),
                keys.permit(grant.plan_id),
                keys.executor_intent_used(intent_id),
                keys.EXECUTOR_OPEN,
            ],
            args=[
                grant.identity,
                grant.dump(),
                "first" if replaces is None else replaces.dump(),
                "exempt" if grant.kill_exempt else "",
                "intent" if intent_id else "",
                INTENT_USED_S,
            ],
        )
        return _text(answer)

    def is_killed(self) -> bool:
        """Whether the switch is on, for what is no order and so needs no grant."""
        pipe = self.redis.pipeline(transaction=False)
        pipe.get(keys.KILL_SWITCH)
        pipe.get(keys.BRAIN_ENV_KILL)
        switch, brain = pipe.execute(raise_on_error=False)
        if isinstance(brain, Exception) or brain == b"true":
            return True
        return parse_runtime(switch if isinstance(switch, bytes) else None).active

    def mark(self, grant: OpenGrant) -> None:
        """Write the state of an open grant down (it stays open)."""
        self.redis.hset(keys.EXECUTOR_OPEN, grant.identity, grant.dump())

    def open_grants(self) -> dict[str, str]:
        found = self.redis.hgetall(keys.EXECUTOR_OPEN)
        return {_text(name): _text(value) for name, value in found.items()}

    def settle(self, ending: Ending) -> None:
        self.settle_all([ending])

    def settle_all(self, endings: list[Ending]) -> None:
        """Each ending is atomic; together they are one round trip, and in a transaction the
        disk is waited for once and not for every few of them."""
        pipe = self.redis.pipeline(transaction=len(endings) > 1)
        for ending in endings:
            script_keys, args = _settle_call(ending)
            pipe.evalsha(self._settle.sha, len(script_keys), *script_keys, *args)
        pipe.execute()

    def acknowledge_duplicates(self, entries: list[Entry]) -> None:
        """The plan has its result, or will get it from the entry that came first."""
        pipe = self.redis.pipeline(transaction=True)
        for entry in entries:
            pipe.xack(entry.stream, entry.group, entry.entry_id)
        pipe.hincrby(keys.EXECUTOR_METRICS, "duplicates", len(entries))
        pipe.execute()

    def ledger_amount(self, symbol: str) -> str | None:
        value = self.redis.hget(keys.ledger(symbol), "position_amt")
        return None if value is None else _text(value)


def _settle_call(ending: Ending) -> tuple[list[str], list[Any]]:
    result = ending.result
    metrics = result.metrics()
    lifetime = 0
    if ending.identity:
        lifetime = DONE_EXECUTED_S if result.executed or result.fill else DONE_DENIED_S
    script_keys = [
        keys.APPLY_RESULT,
        keys.executor_done(ending.identity),
        ending.entry.stream,
        keys.EXECUTOR_METRICS,
        keys.EXECUTOR_OPEN,
        keys.ledger(result.symbol),
    ]
    args = [
        ending.entry.group,
        ending.entry.entry_id,
        lifetime,
        ending.identity,
        *(len(metrics), *metrics),
        *(len(ending.ledger), *ending.ledger),
        *result.wire(time.time()),
    ]
    return script_keys, args


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
