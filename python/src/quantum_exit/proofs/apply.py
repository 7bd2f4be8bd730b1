"""The Apply Layer's proof: layer 1 runs, knows the owner, and answers what it is sent."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any, Final, cast

import redis

from quantum_exit import keys
from quantum_exit.alerts.watch import DRILL_PREFIX
from quantum_exit.messages import ExitIntent, parse_embedded_intent
from quantum_exit.proofs import checks, drill, observe
from quantum_exit.proofs.model import Check, Expect, Outcome, Proof
from quantum_exit.settings import exit_owner, public_keys
from quantum_exit.signing import INTENT_FIELDS, Signer, Verifier, generate_seed
from quantum_exit.values import format_epoch

TITLE: Final = "APPLY LAYER PROOF"
SERVICE: Final = "apply_layer"
_PLAN_WAIT_S: Final = 5.0
_POLL_S: Final = 0.01
_LOOK_BACK: Final = 2_000


def run(bus: redis.Redis, environ: Mapping[str, str], expect: Expect) -> Proof:
    """Raises redis.RedisError when Redis is gone. What is expected of the mode plays no part:
    layer 1 works in every mode."""
    del expect
    began = time.time()
    owner = exit_owner(environ)
    beats = observe.read_beats(bus, began)
    tests = (
        checks.service(SERVICE, beats[SERVICE]),
        owner_check(environ, owner),
        group_check(bus),
        carried_check(bus, environ, owner),
        blocked_check(bus, owner),
        denials_check(bus, beats),
    )
    return Proof("apply", TITLE, began, tests)


def owner_check(environ: Mapping[str, str], owner: str) -> Check:
    """Who verifies must know the owner's public key."""
    name = "The exit owner and its key are configured"
    known = Verifier(public_keys(environ)).knows(owner)
    told = f"{owner}: public key {'known' if known else 'NOT known'} here"
    return Check("owner", name, checks.outcome(known), (told,), critical=True)


def group_check(bus: redis.Redis) -> Check:
    name, key = "Intents are read and answered", "group"
    fine, told = checks.group(bus, keys.EXIT_INTENT, keys.GROUP_APPLY)
    return Check(key, name, checks.outcome(fine), (told,), critical=True)


def carried_check(bus: redis.Redis, environ: Mapping[str, str], owner: str) -> Check:
    """The newest plan with the owner's right carries the owner's own signed intent."""
    name, key = "An intent of the owner becomes a plan that carries it", "carried"
    verifier = Verifier(public_keys(environ))
    page = cast("list[Any]", bus.xrevrange(keys.APPLY_PLAN, count=_LOOK_BACK))
    for _, fields in page:
        if fields.get("source") != owner or fields.get("signature") != "apply_layer":
            continue
        if fields.get("decision") != "EXECUTE" or fields.get("action") == "DRILL":
            continue
        intent = parse_embedded_intent(fields.get("intent", ""))
        fine = isinstance(intent, ExitIntent) and verifier.verify(owner, intent.wire, INTENT_FIELDS)
        told = (
            f"plan {fields.get('plan_id')}: signed intent {'verified' if fine else 'NOT verified'}"
        )
        return Check(key, name, checks.outcome(fine), (told,), critical=True)
    return Check(key, name, Outcome.INFO, ("no plan of the owner yet",), critical=True)


def blocked_check(bus: redis.Redis, owner: str) -> Check:
    """Intents of others become BLOCKED plans. They are of a symbol in which nothing is held."""
    name, key = "Intents of others are blocked", "blocked"
    held = observe.load_json(observe.read_hash(bus, keys.SNAPSHOT_STATE).get("symbols"))
    symbol = drill.choose_symbol(bus, held if isinstance(held, list) else ())
    if not isinstance(held, list) or symbol is None:
        why = "no symbol without a position, or positions not known: not tried"
        return Check(key, name, Outcome.INFO, (why,), critical=True)
    intents = _intents(owner, symbol, time.time())
    newest = cast("list[Any]", bus.xrevrange(keys.APPLY_PLAN, count=1))
    since = str(newest[0][0]) if newest else "0-0"
    try:
        bus.set(DRILL_PREFIX + intents[0][1]["intent_id"], "1", ex=drill.REGISTERED_FOR_S)
        for _, intent, _ in intents:
            bus.xadd(keys.EXIT_INTENT, dict(intent.items()))
    except redis.exceptions.NoPermissionError:
        why = "this Redis user may write no intent, as nobody may but the Exit Brain: not tried"
        return Check(key, name, Outcome.INFO, (why,), critical=True)
    plans = _plans_of(bus, since, [intent["intent_id"] for _, intent, _ in intents])
    for plan in plans.values():
        # Blocked plans end as denied results, which the watch must not take for violations.
        bus.set(DRILL_PREFIX + plan.get("plan_id", ""), "1", ex=drill.REGISTERED_FOR_S)
    told, fine = [], True
    for what, intent, expected in intents:
        plan = plans.get(intent["intent_id"], {})
        right = plan.get("decision") == "BLOCKED" and plan.get("reason", "").startswith(expected)
        fine = fine and right
        told.append(f"{what}: {plan.get('decision', 'NO PLAN')} {plan.get('reason', '')}".rstrip())
    return Check(key, name, checks.outcome(fine), tuple(told), critical=True)


def _intents(owner: str, symbol: str, now_epoch: float) -> list[tuple[str, dict[str, str], str]]:
    """What it is, the intent, and how the reason of its plan must begin."""

    def make(source: str) -> dict[str, str]:
        return {
            "intent_id": f"proof-drill-{uuid.uuid4()}",
            "symbol": symbol,
            "action": "FULL_CLOSE",
            "side": "LONG",
            "qty_fraction": "1",
            "quantity": "1",
            "reason": "drill of a proof: must be blocked",
            "source": source,
            "ts_epoch": format_epoch(now_epoch),
        }

    forged = make(owner)
    forged["sig"] = Signer(generate_seed()).sign(forged, INTENT_FIELDS)
    return [
        ("of another source", make(drill.PRODUCER), "NOT_EXIT_OWNER"),
        ("of the owner, unsigned", make(owner), "SOURCE_UNVERIFIED"),
        ("of the owner, signed by another key", forged, "SOURCE_UNVERIFIED"),
    ]


def _plans_of(bus: redis.Redis, since: str, intent_ids: list[str]) -> dict[str, Mapping[str, str]]:
    """The plans made of these intents, by intent id, as far as they come in time."""
    deadline = time.monotonic() + _PLAN_WAIT_S
    while True:
        found: dict[str, Mapping[str, str]] = {}
        for _, fields in cast("list[Any]", bus.xrange(keys.APPLY_PLAN, min=f"({since}")):
            for intent_id in intent_ids:
                if intent_id in fields.get("plan_id", "") or intent_id in fields.get("intent", ""):
                    found[intent_id] = fields
        if len(found) == len(intent_ids) or time.monotonic() > deadline:
            return found
        time.sleep(_POLL_S)


def denials_check(bus: redis.Redis, beats: Mapping[str, Any]) -> Check:
    """What was denied so far, and whether both layers are up to see the next one."""
    name, key = "Both layers are up to see the next attempt", "denials"
    metrics = observe.read_hash(bus, keys.EXECUTOR_METRICS)
    layers = {"layer 1": beats["apply_layer"], "layer 2": beats["intent_executor"]}
    up = {
        layer: isinstance(beat, observe.Beat) and beat.fresh and beat.ready
        for layer, beat in layers.items()
    }
    told = [f"{layer} {'up' if is_up else 'DOWN'}" for layer, is_up in up.items()]
    told.append(f"denied by layer 2 so far: {metrics.get('exit_owner_denied', '0')}")
    return Check(key, name, checks.outcome(all(up.values())), tuple(told))
