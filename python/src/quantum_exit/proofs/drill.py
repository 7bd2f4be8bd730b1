"""Plans sent through the real way, to see what becomes of them. None of them is ever sent on.

Each is registered before it is sent, and what is registered is not granted (grant.lua), so it
reaches no exchange whatever the gates say; only the operator's user may register one. Besides,
each is of a kind that could do no harm: an exit where nothing is held, a quantity below every
step, the cancelling of a stop that never was.
"""

from __future__ import annotations

import json
import secrets
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import redis

from quantum_exit import keys
from quantum_exit.executor.grant import client_id_prefix
from quantum_exit.gates.authority import examine
from quantum_exit.gates.model import DRILL_ACTION, DRILL_NOT_SENT, KILL_SWITCH_ACTIVE, Lane
from quantum_exit.messages import Malformed, parse_plan
from quantum_exit.proofs import host, observe
from quantum_exit.proofs.ground import Ground
from quantum_exit.proofs.model import Expect
from quantum_exit.signing import (
    INTENT_FIELDS,
    PLAN_FIELDS,
    BadKeyError,
    Signer,
    Verifier,
    generate_seed,
)
from quantum_exit.values import Unknown, format_epoch

PRODUCER: Final = "intent_bridge"
REGISTERED_FOR_S: Final = 86_400
RESULT_WAIT_S: Final = 5.0
_POLL_S: Final = 0.01
_BELOW_EVERY_STEP: Final = "0.00000001"


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
    def signed(self) -> bool:
        """Whether a request for the exchange was signed, or an order is named, in its result."""
        return any(
            "signed_ms" in (observe.load_json(result.get("details")) or {})
            or result.get("client_order_id")
            for result in self.results
        )

    @property
    def told(self) -> str:
        said = ", ".join(f"{r.get('decision')} {r.get('error')}" for r in self.results)
        ack = "" if self.acknowledged else ", NOT acknowledged"
        count = "" if len(self.results) == 1 else f" ({len(self.results)} results)"
        return f"{self.drill.name}: {said or 'NO RESULT'}{count}{ack}"


def owners_signer(environ: Mapping[str, str]) -> Signer | Unknown:
    """With the owner's key, which on a deployed host only root may read."""
    seed = environ.get("QUANTUM_SIGNING_KEY", "").strip()
    if not seed:
        file = host.read_env_file(observe.BRAIN_ENV_FILE)
        if isinstance(file, Unknown):
            return Unknown(f"the owner's key cannot be read ({file.why})")
        seed = file.get("QUANTUM_SIGNING_KEY", "")
    try:
        return Signer(seed)
    except BadKeyError as error:
        return Unknown(f"QUANTUM_SIGNING_KEY: {error}")


def harmless_intent(owner: str, symbol: str, now_epoch: float) -> dict[str, str]:
    """An intent to cancel a stop that never was, unsigned."""
    return {
        "intent_id": f"cancel:qs-{secrets.token_hex(15)}:1",
        "symbol": symbol,
        "action": "CANCEL_STOP",
        "side": "LONG",
        "reason": "drill of a proof: must not be sent",
        "source": owner,
        "ts_epoch": format_epoch(now_epoch),
    }


def lawful(owner: str, signer: Signer, symbol: str, expect: Expect, now_epoch: float) -> Drill:
    """The owner's own exit, signed: every gate lets it pass, up to the send."""
    intent = harmless_intent(owner, symbol, now_epoch)
    intent["sig"] = signer.sign(intent, INTENT_FIELDS)
    fields = _carrying(owner, symbol, intent, now_epoch)
    end = KILL_SWITCH_ACTIVE if expect is Expect.KILLED else DRILL_NOT_SENT
    name = "an exit of the owner, by its signed intent"
    return Drill(name, fields, (end,))


def replayed(owner: str, lawful_one: Drill, now_epoch: float) -> list[Drill]:
    """What was signed once, used again, after it has had its result."""
    before = lawful_one.fields
    intent = json.loads(before["intent"])
    again = _carrying(owner, before["symbol"], intent, now_epoch)
    other = _carrying(owner, before["symbol"], {**intent, "reason": "another"}, now_epoch)
    unverified = (f"SOURCE_UNVERIFIED:source={owner}",)
    return [
        Drill("its intent used a second time", again, unverified),
        Drill("its intent, changed by a word", other, unverified),
    ]


def _carrying(
    owner: str, symbol: str, intent: Mapping[str, str], now_epoch: float
) -> dict[str, str]:
    return _plan(owner, symbol, now_epoch, signature="apply_layer") | {
        "type": "CANCEL",
        "qty": "0",
        "intent": json.dumps(dict(intent), sort_keys=True, separators=(",", ":")),
    }


def foreign(symbol: str, now_epoch: float) -> Drill:
    """The plainest attempt: somebody else's exit."""
    expected = (f"NOT_EXIT_OWNER:source={PRODUCER}", _closed_out())
    return Drill(f"exit asked for by {PRODUCER}", _plan(PRODUCER, symbol, now_epoch), expected)


def _closed_out() -> str:
    return f"source_not_allowed:{PRODUCER}"  # a host that allows it nothing at all


def attempts(owner: str, ground: Ground, now_epoch: float) -> list[Drill]:
    """The ways in which somebody else might try."""
    symbol = ground.flat
    not_owner = (f"NOT_EXIT_OWNER:source={PRODUCER}", _closed_out())
    unverified = f"SOURCE_UNVERIFIED:source={owner}"
    forged = _plan(owner, symbol, now_epoch)
    forged["sig"] = Signer(generate_seed()).sign(forged, PLAN_FIELDS)
    carrying = _plan(owner, symbol, now_epoch, signature="apply_layer")
    carrying["intent"] = json.dumps({"intent_id": "none", "source": owner, "sig": "00" * 64})
    silent = _plan(PRODUCER, symbol, now_epoch)
    del silent["reduceOnly"]
    twice = _plan(PRODUCER, symbol, now_epoch)
    drills = [
        foreign(symbol, now_epoch),
        Drill("the same without saying reduceOnly", silent, not_owner),
        Drill("the owner's name without a signature", _plan(owner, symbol, now_epoch),
              (unverified,)),
        Drill("the owner's name, signed by another key", forged, (unverified,)),
        Drill("the owner's name with a made-up intent", carrying,
              (unverified, "invalid_field:intent")),
        Drill("sent twice under one id", twice, not_owner, 2),
    ]  # fmt: skip
    if ground.held is not None:
        drills.append(Drill("disguised as an opening", _disguised(ground, now_epoch), not_owner))
    return drills


def _disguised(ground: Ground, now_epoch: float) -> dict[str, str]:
    """Against a position that is held, without the flag: by its effect it is an exit."""
    return _plan(PRODUCER, ground.held or "", now_epoch) | {
        "reduceOnly": "false",
        "side": "SELL" if ground.held_amount > 0 else "BUY",
        "qty": _BELOW_EVERY_STEP,
    }


def _plan(source: str, symbol: str, now_epoch: float, signature: str = "") -> dict[str, str]:
    return {
        "plan_id": f"proof-drill-{uuid.uuid4()}",
        "decision": "EXECUTE",
        "reason": "drill of a proof: must not be sent",
        "symbol": symbol,
        "side": "SELL",
        "type": "MARKET",
        "qty": "1",
        "reduceOnly": "true",
        "source": source,
        "signature": signature or source,
        "timestamp": format_epoch(now_epoch),
        "action": DRILL_ACTION,
    }


def order_id_prefixes(drill: Drill, owner: str, verifier: Verifier) -> tuple[str, ...]:
    """How the ids of orders would begin that the executor made of this plan."""
    plan = parse_plan(drill.fields)
    if isinstance(plan, Malformed):
        return ()
    return (client_id_prefix(examine(plan, Lane.MAIN, owner, verifier).identity),)


def register(bus: redis.Redis, ids: Iterable[str], mark: str = "1") -> None:
    """Raises redis.NoPermissionError where the user may not, and redis.RedisError."""
    for each in ids:
        bus.set(keys.drill(each), mark, ex=REGISTERED_FOR_S)


def run(bus: redis.Redis, drills: Sequence[Drill], mark: str = "1") -> list[Answer]:
    """Send them all, wait for their results. Raises redis.NoPermissionError where the user
    may not, before anything is sent, and redis.RedisError."""
    newest = cast("list[Any]", bus.xrevrange(keys.APPLY_RESULT, count=1))
    since = str(newest[0][0]) if newest else "0-0"
    register(bus, [drill.plan_id for drill in drills], mark)
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
    delivered = entry_order(str(group["last-delivered-id"]))
    return all(
        entry_order(entry_id) <= delivered and not _pending(bus, entry_id) for entry_id in entry_ids
    )


def _pending(bus: redis.Redis, entry_id: str) -> bool:
    return bool(
        bus.xpending_range(keys.APPLY_PLAN, keys.GROUP_EXECUTOR, entry_id, entry_id, count=1)
    )


def entry_order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)
