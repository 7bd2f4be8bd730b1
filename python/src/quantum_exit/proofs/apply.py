"""The Apply Layer's proof: layer 1 runs, knows the owner, and answers what it is sent."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import redis

from quantum_exit import keys
from quantum_exit.alerts.denials import collect
from quantum_exit.alerts.results import Results, newest
from quantum_exit.apply.plans import refused_plan_id
from quantum_exit.messages import ExitIntent, parse_embedded_intent
from quantum_exit.proofs import checks, drill, observe
from quantum_exit.proofs.ground import NoGround, find_ground
from quantum_exit.proofs.model import Check, Expect, Figure, Outcome, Proof
from quantum_exit.settings import exit_owner, public_keys
from quantum_exit.signing import INTENT_FIELDS, Signer, Verifier, generate_seed
from quantum_exit.values import Unknown, format_epoch

TITLE: Final = "APPLY LAYER PROOF"
SERVICE: Final = "apply_layer"
SEEN: Final = "quantum:operator:proof:apply"
"""Hash: up to which result this proof has counted denials (`cursor`; `entries_added`: how many
there had been), and when (`ts_epoch`)."""
_PLAN_WAIT_S: Final = 5.0
_POLL_S: Final = 0.01
_CARRIED: Final = "An intent of the owner becomes a plan that carries it"
_BLOCKED: Final = "Intents of others are blocked, each with its reason"


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
        *intent_checks(bus, environ, owner),
        denials_check(bus, beats, began),
    )
    return Proof("apply", TITLE, began, tests)


def owner_check(environ: Mapping[str, str], owner: str) -> Check:
    """Who verifies must know the owner's public key, and it must be that of the key which
    the owner signs with."""
    name = "The exit owner and its key are configured"
    verifier = Verifier(public_keys(environ))
    fine = verifier.knows(owner)
    told = [f"{owner}: public key {'known' if fine else 'NOT known'} here"]
    signer = drill.owners_signer(environ)
    if fine and not isinstance(signer, Unknown):
        probe = {"intent_id": "probe"}
        sig = signer.sign(probe, INTENT_FIELDS)
        fine = verifier.verify(owner, {**probe, "sig": sig}, INTENT_FIELDS)
        told.append(f"it verifies what the owner signs: {'yes' if fine else 'NO'}")
    return Check("owner", name, checks.outcome(fine), tuple(told), critical=True)


def group_check(bus: redis.Redis) -> Check:
    name, key = "Intents are read and answered", "group"
    seen = checks.group(bus, keys.EXIT_INTENT, keys.GROUP_APPLY)
    figure = Figure("oldest_waits", seen.waits_s, "s", most=checks.PENDING_AT_MOST_S)
    outcome = checks.outcome(seen.fine)
    return Check(key, name, outcome, (seen.told,), critical=True, figures=(figure,))


@dataclass(frozen=True, slots=True)
class Asked:
    """An intent, what it is, and how the reason of its plan must begin when it is blocked;
    None: it is the owner's own, and must become a plan."""

    what: str
    intent: Mapping[str, str]
    reason: str | None

    @property
    def intent_id(self) -> str:
        return self.intent["intent_id"]


def intent_checks(bus: redis.Redis, environ: Mapping[str, str], owner: str) -> tuple[Check, Check]:
    """Intents of the owner and of others, and the plans that become of them. None is ever
    sent: see `drill`."""
    ground = find_ground(bus)
    if isinstance(ground, NoGround):
        return _not_tried(ground.why, ground.outcome)
    signer = drill.owners_signer(environ)
    asked = _foreign(owner, ground.flat, time.time())
    if not isinstance(signer, Unknown):
        intent = drill.harmless_intent(owner, ground.flat, time.time())
        intent["sig"] = signer.sign(intent, INTENT_FIELDS)
        tampered = {**intent, "intent_id": f"proof-drill-{uuid.uuid4()}"}
        asked.append(Asked("of the owner, changed after signing", tampered, "SOURCE_UNVERIFIED"))
        asked.append(Asked("of the owner, signed", intent, None))
    try:
        plans = _send(bus, asked)
    except redis.exceptions.NoPermissionError:
        return _not_tried("this Redis user may write no intent; `exitctl proof apply` as root may")
    return (
        _carried(asked, plans, Verifier(public_keys(environ)), signer),
        _blocked(asked, plans),
    )


def _not_tried(why: str, outcome: Outcome = Outcome.INFO) -> tuple[Check, Check]:
    """Why positions are not known is the executor's proof to alarm for: here it warns."""
    return (
        Check("carried", _CARRIED, outcome, (why,), critical=outcome is not Outcome.FAIL),
        Check("blocked", _BLOCKED, Outcome.INFO, (why,), critical=True),
    )


def _foreign(owner: str, symbol: str, now_epoch: float) -> list[Asked]:
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
        Asked("of another source", make(drill.PRODUCER), "NOT_EXIT_OWNER"),
        Asked("of the owner, unsigned", make(owner), "SOURCE_UNVERIFIED"),
        Asked("of the owner, signed by another key", forged, "SOURCE_UNVERIFIED"),
    ]


def _send(bus: redis.Redis, asked: Sequence[Asked]) -> dict[str, Mapping[str, str]]:
    """Their plans, by intent id, as far as they come in time."""
    newest = cast("list[Any]", bus.xrevrange(keys.APPLY_PLAN, count=1))
    since = str(newest[0][0]) if newest else "0-0"
    # Before there is a plan: one that comes late must not be taken for a violation either.
    drill.register(bus, [name for one in asked for name in (one.intent_id, _plan_id(one))])
    for one in asked:
        bus.xadd(keys.EXIT_INTENT, dict(one.intent.items()))
    plans = _plans_of(bus, since, [one.intent_id for one in asked])
    drill.register(bus, [plan.get("plan_id", "") for plan in plans.values()])
    return plans


def _plan_id(one: Asked) -> str:
    if one.reason is None:
        return f"exit-{one.intent_id}"
    return refused_plan_id(one.intent_id, one.intent)


def _plans_of(bus: redis.Redis, since: str, intent_ids: list[str]) -> dict[str, Mapping[str, str]]:
    deadline = time.monotonic() + _PLAN_WAIT_S
    while True:
        found: dict[str, Mapping[str, str]] = {}
        for _, fields in cast("list[Any]", bus.xrange(keys.APPLY_PLAN, min=f"({since}")):
            for intent_id in intent_ids:
                if intent_id in fields.get("plan_id", ""):
                    found[intent_id] = fields
        if len(found) == len(intent_ids) or time.monotonic() > deadline:
            return found
        time.sleep(_POLL_S)


def _carried(
    asked: Sequence[Asked],
    plans: Mapping[str, Mapping[str, str]],
    verifier: Verifier,
    signer: Signer | Unknown,
) -> Check:
    """The plan holds the whole intent, as it was signed, and no signature of its own."""
    if isinstance(signer, Unknown):
        why = (f"{signer.why}; as root it can",)
        return Check("carried", _CARRIED, Outcome.INFO, why, critical=True)
    [ours] = [one for one in asked if one.reason is None]
    plan = plans.get(ours.intent_id)
    if plan is None:
        told, fine = f"{ours.what}: NO PLAN", False
    else:
        intent = parse_embedded_intent(plan.get("intent", ""))
        fine = (
            plan.get("decision") == "EXECUTE"
            and plan.get("signature") == "apply_layer"
            and "sig" not in plan
            and isinstance(intent, ExitIntent)
            and dict(intent.wire) == dict(ours.intent)
            and verifier.verify(ours.intent["source"], intent.wire, INTENT_FIELDS)
        )
        carries = "carries it, verified" if fine else "does NOT carry it"
        told = f"{ours.what}: {plan.get('decision')} {plan.get('plan_id')}, {carries}"
    return Check("carried", _CARRIED, checks.outcome(fine), (told,), critical=True)


def _blocked(asked: Sequence[Asked], plans: Mapping[str, Mapping[str, str]]) -> Check:
    told, fine = [], True
    for one in asked:
        if one.reason is None:
            continue
        plan = plans.get(one.intent_id, {})
        right = plan.get("decision") == "BLOCKED" and plan.get("reason", "").startswith(one.reason)
        fine = fine and right
        said = f"{plan.get('decision', 'NO PLAN')} {plan.get('reason', '')}".rstrip()
        told.append(f"{one.what}: {said}")
    return Check("blocked", _BLOCKED, checks.outcome(fine), tuple(told), critical=True)


def denials_check(bus: redis.Redis, beats: Mapping[str, Any], now_epoch: float) -> Check:
    """What was denied since this proof ran last, and whether both layers were up to see it."""
    name, key = "Both layers are up, and were, to see an attempt", "denials"
    layers = {"layer 1": beats["apply_layer"], "layer 2": beats["intent_executor"]}
    before = observe.read_hash(bus, SEEN)
    since = float(before["ts_epoch"]) if "ts_epoch" in before else None
    told, fine = [], True
    for layer, beat in layers.items():
        up = isinstance(beat, observe.Beat) and beat.fresh and beat.ready
        fine = fine and up
        word = "up" if up else "DOWN"
        if up and since is not None and beat.started_epoch > since:
            word += f", but only for {now_epoch - beat.started_epoch:.0f} s"
        told.append(f"{layer} {word}")
    count, line = _count(bus, before, now_epoch)
    told.append(line)
    figure = Figure("denials", count)
    return Check(key, name, checks.outcome(fine), tuple(told), figures=(figure,))


def _count(bus: redis.Redis, before: Mapping[str, str], now_epoch: float) -> tuple[int, str]:
    """Denials since the last run, and a line about them; drills are not counted among them."""
    last, added = newest(bus)
    cursor, since = before.get("cursor"), before.get("ts_epoch")
    if cursor is None or since is None:
        _remember(bus, last, added, now_epoch)
        return 0, "first run: denials are counted from now on"
    added_before = int(before.get("entries_added", added))
    if added < added_before or drill.entry_order(last) < drill.entry_order(cursor):
        cursor, added_before = "0-0", 0  # the stream was made anew
    results = Results(bus, cursor, until=last)
    denials = collect(results, lambda plan_id: observe.read_text(bus, keys.drill(plan_id)) or "")
    _remember(bus, last, added, now_epoch)
    by = ", ".join(f"layer {layer}: {count}" for layer, count in sorted(denials.layers.items()))
    told = f"denied since the last run {now_epoch - float(since):.0f} s ago: {denials.count}"
    told += f" ({by})" if by else ""
    missed = added - added_before - results.read
    if missed > 0:
        told += f"; {missed} older result(s) were deleted before this run"
    return denials.count, told


def _remember(bus: redis.Redis, cursor: str, added: int, now_epoch: float) -> None:
    try:
        bus.hset(
            SEEN,
            mapping={
                "cursor": cursor,
                "entries_added": str(added),
                "ts_epoch": format_epoch(now_epoch),
            },
        )
    except redis.exceptions.NoPermissionError:
        return  # a user that only reads counts from where the operator's last run was
