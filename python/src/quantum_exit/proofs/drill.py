"""Plans that must be denied, sent through the real way to see that they are.

Each reduces, by its flag, a symbol in which nothing is held: if every gate failed, the
exchange itself would refuse it. They are registered, so that the watch takes none for a
violation; only the operator's user may register one.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import redis

from quantum_exit import keys
from quantum_exit.alerts.watch import DRILL_PREFIX
from quantum_exit.proofs import observe
from quantum_exit.signing import PLAN_FIELDS, Signer, generate_seed
from quantum_exit.values import format_epoch

PRODUCER: Final = "intent_bridge"
REGISTERED_FOR_S: Final = 86_400
RESULT_WAIT_S: Final = 5.0
_POLL_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class Drill:
    """`expected`: how the result's error must begin. `times`: how often it is sent."""

    name: str
    fields: Mapping[str, str]
    expected: tuple[str, ...]
    times: int = 1

    @property
    def plan_id(self) -> str:
        return self.fields["plan_id"]


@dataclass(frozen=True, slots=True)
class Answer:
    drill: Drill
    results: tuple[Mapping[str, str], ...]
    acknowledged: bool

    @property
    def right(self) -> bool:
        """One result, the right one, and every entry acknowledged."""
        return self.acknowledged and len(self.results) == 1 and self._denied(self.results[0])

    def _denied(self, result: Mapping[str, str]) -> bool:
        error = result.get("error", "")
        return result.get("executed") == "false" and error.startswith(self.drill.expected)

    @property
    def told(self) -> str:
        said = ", ".join(f"{r.get('decision')} {r.get('error')}" for r in self.results)
        ack = "" if self.acknowledged else ", NOT acknowledged"
        count = "" if len(self.results) == 1 else f" ({len(self.results)} results)"
        return f"{self.drill.name}: {said or 'NO RESULT'}{count}{ack}"


def flat_symbol(held: Iterable[str], universe: Iterable[str]) -> str | None:
    """A symbol in which nothing is held."""
    taken = set(held)
    return next((symbol for symbol in sorted(universe) if symbol not in taken), None)


def make(owner: str, symbol: str, now_epoch: float) -> list[Drill]:
    """The ways in which somebody else might try."""
    foreign = f"NOT_EXIT_OWNER:source={PRODUCER}"
    closed_out = f"source_not_allowed:{PRODUCER}"  # a host that allows it nothing at all
    unverified = f"SOURCE_UNVERIFIED:source={owner}"
    forged = _plan(owner, symbol, now_epoch)
    forged["sig"] = Signer(generate_seed()).sign(forged, PLAN_FIELDS)
    carrying = _plan(owner, symbol, now_epoch, signature="apply_layer")
    carrying["intent"] = json.dumps({"intent_id": "none", "source": owner, "sig": "00" * 64})
    silent = _plan(PRODUCER, symbol, now_epoch)
    del silent["reduceOnly"]
    return [
        Drill(
            f"exit asked for by {PRODUCER}",
            _plan(PRODUCER, symbol, now_epoch),
            (foreign, closed_out),
        ),
        Drill("the same without saying reduceOnly", silent, (foreign, closed_out)),
        Drill(
            "the owner's name without a signature", _plan(owner, symbol, now_epoch), (unverified,)
        ),
        Drill("the owner's name, signed by another key", forged, (unverified,)),
        Drill(
            "the owner's name with a made-up intent", carrying, (unverified, "invalid_field:intent")
        ),
        Drill(
            "sent twice under one id", _plan(PRODUCER, symbol, now_epoch), (foreign, closed_out), 2
        ),
    ]


def _plan(source: str, symbol: str, now_epoch: float, signature: str = "") -> dict[str, str]:
    return {
        "plan_id": f"proof-drill-{uuid.uuid4()}",
        "decision": "EXECUTE",
        "reason": "drill of a proof: must be denied",
        "symbol": symbol,
        "side": "SELL",
        "type": "MARKET",
        "qty": "1",
        "reduceOnly": "true",
        "source": source,
        "signature": signature or source,
        "timestamp": format_epoch(now_epoch),
        "action": "DRILL",
    }


def run(bus: redis.Redis, drills: Sequence[Drill]) -> list[Answer]:
    """Send them all, wait for their results. Raises redis.NoPermissionError where the user
    may not, before anything is sent, and redis.RedisError."""
    newest = cast("list[Any]", bus.xrevrange(keys.APPLY_RESULT, count=1))
    since = str(newest[0][0]) if newest else "0-0"
    for drill in drills:
        bus.set(DRILL_PREFIX + drill.plan_id, "1", ex=REGISTERED_FOR_S)
    sent: dict[str, list[str]] = {}
    for drill in drills:
        for _ in range(drill.times):
            entry_id = str(bus.xadd(keys.APPLY_PLAN, dict(drill.fields.items())))
            sent.setdefault(drill.plan_id, []).append(entry_id)
    deadline = time.monotonic() + RESULT_WAIT_S
    while True:
        results = _results(bus, since)
        done = {plan_id: _acknowledged(bus, ids) for plan_id, ids in sent.items()}
        complete = all(done[d.plan_id] and results.get(d.plan_id) for d in drills)
        if complete or time.monotonic() > deadline:
            return [Answer(d, tuple(results.get(d.plan_id, ())), done[d.plan_id]) for d in drills]
        time.sleep(_POLL_S)


def _results(bus: redis.Redis, since: str) -> dict[str, list[Mapping[str, str]]]:
    found: dict[str, list[Mapping[str, str]]] = {}
    page = cast("list[Any]", bus.xrange(keys.APPLY_RESULT, min=f"({since}"))
    for _, fields in page:
        found.setdefault(fields.get("plan_id", ""), []).append(fields)
    return found


def _acknowledged(bus: redis.Redis, entry_ids: Iterable[str]) -> bool:
    """Read by the executor's group, and not pending in it."""
    groups = bus.xinfo_groups(keys.APPLY_PLAN)
    group = next((g for g in groups if g["name"] == keys.GROUP_EXECUTOR), None)
    if group is None:
        return False
    delivered = _order(str(group["last-delivered-id"]))
    return all(
        _order(entry_id) <= delivered and not _pending(bus, entry_id) for entry_id in entry_ids
    )


def _pending(bus: redis.Redis, entry_id: str) -> bool:
    return bool(
        bus.xpending_range(keys.APPLY_PLAN, keys.GROUP_EXECUTOR, entry_id, entry_id, count=1)
    )


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)


def choose_symbol(bus: redis.Redis, held: Iterable[str]) -> str | None:
    """From the policy's universe, else a symbol that every such exchange lists."""
    listed = observe.load_json(observe.read_hash(bus, keys.POLICY_CURRENT).get("universe_symbols"))
    universe = [s for s in listed if isinstance(s, str)] if isinstance(listed, list) else []
    return flat_symbol(held, universe or ["BTCUSDT", "ETHUSDT"])
