"""The executor's atomic steps in Redis. Each method is one round trip."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha1
from itertools import chain
from pathlib import Path
from typing import Any, Final

from redis.exceptions import ResponseError

from quantum_exit import keys
from quantum_exit.bus.connection import RedisClient
from quantum_exit.bus.line import Argument, Line
from quantum_exit.executor.grant import OpenGrant
from quantum_exit.executor.result import Result
from quantum_exit.kill_switch import parse_runtime

DONE_DENIED_S: Final = 3_600
"""A denied id is remembered for longer than any plan lives, but not so long that a flood of
made-up ids fills the memory."""
DONE_EXECUTED_S: Final = 7 * 86_400
INTENT_USED_S: Final = 86_400

_SCRIPTS: Final = Path(__file__).with_name("lua")


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


LedgerAfter = Callable[[str], tuple[str, ...]]
"""From the ledger's amount before ("" for none) to the names and values of its fields after."""


class _Script:
    """Called by its digest, which `Store.load_scripts` has made known to the server."""

    def __init__(self, name: str) -> None:
        self.text = (_SCRIPTS / name).read_text()
        self._sha = sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def call(self, script_keys: list[str], args: list[Argument]) -> tuple[Argument, ...]:
        return ("EVALSHA", self._sha, len(script_keys), *script_keys, *args)


_GRANT: Final = _Script("grant.lua")
_SETTLE: Final = _Script("settle.lua")
_DENY: Final = _Script("deny.lua")


class Store:
    """Belongs to one thread. Every method raises redis.RedisError."""

    def __init__(self, redis: RedisClient, line: Line) -> None:
        self.redis = redis
        self._line = line
        self._ledgers: dict[str, bytes] = {}

    def load_scripts(self) -> None:
        """Once per session with a server, which may have lost them."""
        for script in (_GRANT, _SETTLE, _DENY):
            self._line.call("SCRIPT", "LOAD", script.text)

    def grant(
        self,
        grant: OpenGrant,
        *,
        replaces: OpenGrant | None,
        intent_id: str,
        then: Sequence[tuple[Argument, ...]] = (),
    ) -> tuple[str, list[Any]]:
        """`granted`, `killed`, `duplicate`, `intent_used`, `permit_gone`, `superseded` or
        `drill`: a proof's plan that passed every gate, and is not to be sent. And the answers
        to the commands `then`."""
        call = _grant_call(grant, replaces, intent_id)
        answer, *others = self._line.ask([call, *then])
        return self._take_grant(grant, answer), others

    def _take_grant(self, grant: OpenGrant, answer: Any) -> str:
        _raise_first([answer])
        word, *ledger = answer
        if ledger:
            self._ledgers[grant.symbol] = ledger[0]
        return _text(word)

    def is_killed(self) -> bool:
        """Whether the switch is on, for what is no order and so needs no grant."""
        switch, brain = self._line.ask(
            [("GET", keys.KILL_SWITCH), ("GET", keys.BRAIN_ENV_KILL)],
        )
        if isinstance(brain, Exception) or brain == b"true":
            return True
        return parse_runtime(switch if isinstance(switch, bytes) else None).active

    def mark(self, grant: OpenGrant) -> None:
        """Write the state of an open grant down (it stays open)."""
        self._line.call("HSET", keys.EXECUTOR_OPEN, grant.identity, grant.dump())

    def open_grants(self) -> dict[str, str]:
        found = self.redis.hgetall(keys.EXECUTOR_OPEN)
        return {_text(name): _text(value) for name, value in found.items()}

    def settle_and_grant(
        self,
        ending: Ending,
        ledger_after: LedgerAfter | None,
        grant: OpenGrant,
        *,
        intent_id: str,
        then: Sequence[tuple[Argument, ...]] = (),
    ) -> tuple[str, list[Any]]:
        """`settle`, and in the same write the grant of the symbol's next plan, which holds only
        behind that end: as `grant`, or `moved` when the ledger is not what it would be then, or
        `unsettled` when it was not what was thought before: then neither was done."""
        before, fields = self._reckon(grant.symbol, ledger_after)
        amount = fields.get("position_amt", before)
        settled, granted, *others = self._line.ask(
            [
                _settle_call(ending, before, fields),
                _grant_call(grant, None, intent_id, after=(ending.identity, amount)),
                *then,
            ]
        )
        _raise_first([settled])
        word = self._take_grant(grant, granted)
        if isinstance(settled, list):
            self._ledgers[grant.symbol] = settled[0]
            return "unsettled", []
        return word, others

    def ledger_behind(self, symbol: str, ledger_after: LedgerAfter | None) -> dict[str, str]:
        """What of the symbol's ledger an end is going to change."""
        return self._reckon(symbol, ledger_after)[1]

    def _reckon(
        self, symbol: str, ledger_after: LedgerAfter | None
    ) -> tuple[bytes, dict[str, str]]:
        """The ledger's amount before, as it came (it may be no text), and its fields after."""
        before = self._ledgers.get(symbol, b"")
        fields = () if ledger_after is None else ledger_after(_text(before))
        return before, dict(zip(fields[0::2], fields[1::2], strict=True))

    def settle(
        self,
        ending: Ending,
        ledger_after: LedgerAfter | None = None,
        then: Sequence[tuple[Argument, ...]] = (),
    ) -> list[Any]:
        """Result, ledger, metrics, done mark and ACK in one atomic step. The ledger goes on from
        the amount that it holds in that very step. Returns the answers to the commands `then`,
        which Redis sees behind it."""
        symbol = ending.result.symbol
        while True:
            before, fields = self._reckon(symbol, ledger_after)
            answer, *others = self._line.ask([_settle_call(ending, before, fields), *then])
            _raise_first([answer])
            if not isinstance(answer, list):
                return others
            self._ledgers[symbol] = answer[0]

    def deny(self, endings: list[Ending]) -> None:
        """The ends of plans without an order: one atomic step for those of one stream."""
        by_group: dict[tuple[str, str], list[Ending]] = {}
        for ending in endings:
            by_group.setdefault((ending.entry.stream, ending.entry.group), []).append(ending)
        now_epoch = time.time()
        answers = self._line.ask(
            [
                _deny_call(stream, group, together, now_epoch)
                for (stream, group), together in by_group.items()
            ]
        )
        _raise_first(answers)

    def acknowledge_duplicates(self, entries: list[Entry]) -> None:
        """The plan has its result, or will get it from the entry that came first."""
        commands: list[tuple[Argument, ...]] = [("MULTI",)]
        commands += [("XACK", e.stream, e.group, e.entry_id) for e in entries]
        commands.append(("HINCRBY", keys.EXECUTOR_METRICS, "duplicates", len(entries)))
        answers = self._line.ask([*commands, ("EXEC",)])
        _raise_first(answers)


def _grant_call(
    grant: OpenGrant,
    replaces: OpenGrant | None,
    intent_id: str,
    after: tuple[str, Argument] | None = None,
) -> tuple[Argument, ...]:
    """`after`: the plan that must have ended, and the amount its ledger must hold since."""
    ended, amount = after or ("", "")
    script_keys = [
        keys.KILL_SWITCH,
        keys.BRAIN_ENV_KILL,
        keys.executor_done(grant.identity),
        keys.permit(grant.plan_id),
        keys.executor_intent_used(intent_id),
        keys.EXECUTOR_OPEN,
        keys.ledger(grant.symbol),
        keys.drill(grant.plan_id),
        keys.executor_done(ended),
    ]
    args: list[Argument] = [
        grant.identity,
        grant.dump(),
        "first" if replaces is None else replaces.dump(),
        "exempt" if grant.kill_exempt else "",
        "intent" if intent_id else "",
        INTENT_USED_S,
        "after" if after else "",
        amount,
    ]
    return _GRANT.call(script_keys, args)


def _settle_call(ending: Ending, before: bytes, fields: dict[str, str]) -> tuple[Argument, ...]:
    """`before` and `fields` of the ledger; without fields it stays as it is."""
    ledger: tuple[Argument, ...] = (before, *chain.from_iterable(fields.items())) if fields else ()
    result = ending.result
    metrics = result.metrics()
    counts = (len(metrics), len(ledger))
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
    return _SETTLE.call(
        script_keys,
        [
            ending.entry.group,
            ending.entry.entry_id,
            lifetime,
            ending.identity,
            counts[0],
            *metrics,
            counts[1],
            *ledger,
            *chain.from_iterable(result.wire(time.time()).items()),
        ],
    )


def _deny_call(
    stream: str, group: str, endings: list[Ending], now_epoch: float
) -> tuple[Argument, ...]:
    script_keys = [keys.APPLY_RESULT, stream, keys.EXECUTOR_METRICS]
    args: list[Argument] = [group, DONE_DENIED_S]
    for number, ending in enumerate(endings):
        script_keys.append(keys.executor_done(ending.identity))
        fields = ending.result.wire(now_epoch)
        if number == 0:
            args += (len(fields), *fields)
        marks = "1" if ending.identity else "0"
        args += (ending.entry.entry_id, marks, " ".join(ending.result.metrics()))
        args += fields.values()
    return _DENY.call(script_keys, args)


def _raise_first(answers: list[object]) -> None:
    for answer in answers:
        if isinstance(answer, ResponseError):
            raise answer


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
