"""The executor's proof: layer 2 lets the owner pass, denies everybody else, and loses nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import redis

from quantum_exit import keys
from quantum_exit.binance.client import Client
from quantum_exit.binance.errors import ReadFailed
from quantum_exit.proofs import checks, drill, exchange, observe
from quantum_exit.proofs.drill import Answer, Drill
from quantum_exit.proofs.ground import Ground, NoGround, find_ground
from quantum_exit.proofs.model import Check, Expect, Figure, Outcome, Proof
from quantum_exit.proofs.observe import Place
from quantum_exit.settings import exit_owner, public_keys
from quantum_exit.signing import Verifier
from quantum_exit.values import Unknown

TITLE: Final = "INTENT EXECUTOR PROOF"
SERVICE: Final = "intent_executor"
OPEN_AT_MOST_S: Final = 120.0
_GROUPS: Final = (
    (keys.APPLY_PLAN, keys.GROUP_EXECUTOR),
    (keys.APPLY_PLAN_MANUAL, keys.GROUP_EXECUTOR_MANUAL),
)
_LAWFUL: Final = "A signed exit of the owner passes every gate up to the send"
_DENIED: Final = "Exits of others are denied, each with its code"
_QUIET: Final = "Nothing of the drill reached the exchange"


def run(bus: redis.Redis, environ: Mapping[str, str], expect: Expect) -> Proof:
    """Raises redis.RedisError when Redis is gone."""
    began = time.time()
    beats = observe.read_beats(bus, began)
    places = observe.kill_places(bus, environ, beats)
    tests = (
        checks.service(SERVICE, beats[SERVICE]),
        groups_check(bus),
        open_check(bus, began),
        switch_check(places, expect),
        *drill_checks(bus, environ, expect),
    )
    return Proof("executor", TITLE, began, tests)


def groups_check(bus: redis.Redis) -> Check:
    """Each stream has its reader, and nothing lies unanswered in it."""
    name, key = "Plan streams are read and answered", "groups"
    seen = [checks.group(bus, stream, group) for stream, group in _GROUPS]
    fine = all(one.fine for one in seen)
    told = tuple(one.told for one in seen)
    waits = max((one.waits_s for one in seen), default=0.0)
    figure = Figure("oldest_waits", waits, "s", most=checks.PENDING_AT_MOST_S)
    return Check(key, name, checks.outcome(fine), told, critical=True, figures=(figure,))


def open_check(bus: redis.Redis, now_epoch: float) -> Check:
    """An outcome that stays unknown holds its symbol; somebody must look."""
    told, fine, oldest_s = [], True, 0.0
    for field, text in sorted(observe.read_hash(bus, keys.EXECUTOR_OPEN).items()):
        grant = observe.load_json(text)
        signed_ms = grant.get("timestamp_ms") if isinstance(grant, dict) else None
        if not isinstance(signed_ms, int):
            told.append(f"{field} cannot be read")
            fine = False
            continue
        age_s = now_epoch - signed_ms / 1000
        oldest_s = max(oldest_s, age_s)
        fine = fine and age_s <= OPEN_AT_MOST_S
        told.append(f"{grant.get('plan_id')} {grant.get('symbol')}: open for {age_s:.0f} s")
    name = f"No outcome unknown for more than {OPEN_AT_MOST_S:.0f} s"
    figures = (
        Figure("open", len(told)),
        Figure("oldest_open", oldest_s, "s", most=OPEN_AT_MOST_S),
    )
    told = told or ["no open plan"]
    return Check("open", name, checks.outcome(fine), tuple(told), figures=figures)


def switch_check(places: list[Place], expect: Expect) -> Check:
    """The places the executor goes by can be read, and say what is expected."""
    ours = [place for place in places if place.name != "env" or place.blocks]
    on = [place.name for place in ours if place.blocks]
    told = tuple(f"{place.name}: {place.word}, {place.why}" for place in ours)
    fine = bool(on) if expect is Expect.KILLED else not on
    wanted = "on" if expect is Expect.KILLED else "off"
    return Check("kill_switch", f"Kill switch {wanted}", checks.outcome(fine), told, critical=True)


def drill_checks(
    bus: redis.Redis, environ: Mapping[str, str], expect: Expect
) -> tuple[Check, Check, Check]:
    """The owner's exit passes, others' are denied, and nothing of them is sent."""
    ground = find_ground(bus)
    if isinstance(ground, NoGround):
        return _not_tried(ground.why, ground.outcome)
    if bus.exists(keys.delegation(drill.PRODUCER)):
        return _not_tried(f"{drill.PRODUCER} holds a delegation at the moment: not tried")
    owner, began_ms = exit_owner(environ), int(time.time() * 1000)
    signer = drill.owners_signer(environ)
    foreign = drill.attempts(owner, ground, began_ms / 1000)
    ours: list[Drill] = []
    if not isinstance(signer, Unknown):
        ours = [drill.lawful(owner, signer, ground.flat, expect, began_ms / 1000)]
    try:
        answers = drill.run(bus, [*ours, *foreign])
        # Used up is an intent only when it came as far as the send.
        if ours and answers[0].right and expect is not Expect.KILLED:
            answers += drill.run(bus, drill.replayed(owner, ours[0], time.time()))
    except redis.exceptions.NoPermissionError:
        return _not_tried("this Redis user may send no plan; `exitctl proof executor` as root may")
    lawful, denied = answers[: len(ours)], answers[len(ours) :]
    if isinstance(signer, Unknown):
        why = (f"{signer.why}; as root it can",)
        passes = Check("passes", _LAWFUL, Outcome.INFO, why, critical=True)
    else:
        passes = _judged("passes", _LAWFUL, lawful, ())
    where = f"on {ground.flat}, in which nothing is held"
    if ground.held is not None:
        where += f", and disguised on {ground.held}"
    verifier = Verifier(public_keys(environ))
    client = exchange.make_client(environ)
    prefixes = [p for one in answers for p in drill.order_id_prefixes(one.drill, owner, verifier)]
    return (
        passes,
        _judged("denials", _DENIED, denied, (where,)),
        quiet_check(answers, client, ground, began_ms, tuple(prefixes)),
    )


def _not_tried(why: str, outcome: Outcome = Outcome.INFO) -> tuple[Check, Check, Check]:
    return (
        Check("passes", _LAWFUL, outcome, (why,), critical=True),
        Check("denials", _DENIED, Outcome.INFO, (why,), critical=True),
        Check("quiet", _QUIET, Outcome.INFO, (why,), critical=True),
    )


def _judged(key: str, name: str, answers: Sequence[Answer], told: tuple[str, ...]) -> Check:
    fine = all(answer.right for answer in answers)
    told += tuple(answer.told for answer in answers)
    return Check(key, name, checks.outcome(fine), told, critical=True)


def quiet_check(
    answers: Sequence[Answer],
    client: Client | Unknown,
    ground: Ground,
    began_ms: int,
    prefixes: tuple[str, ...],
) -> Check:
    """Neither do the results speak of a request, nor do the exchange's books know an order
    under an id that the executor would have given it. Others may trade the symbol meanwhile."""
    key = "quiet"
    signed = [f"a request was signed for: {answer.told}" for answer in answers if answer.signed]
    if isinstance(client, Unknown):
        return Check(key, _QUIET, Outcome.FAIL, (client.why, *signed), critical=True)
    try:
        # A minute earlier, for the exchange's clock is not ours.
        symbols = [symbol for symbol in (ground.flat, ground.held) if symbol]
        since_ms = began_ms - 60_000
        asked = [partial(client.all_orders, each, start_ms=since_ms) for each in symbols]
        # What the exchange does not trade it has no orders in either.
        orders = [order for ask in asked for order in exchange.unless_gone(ask) or []]
    except ReadFailed as error:
        return Check(key, _QUIET, Outcome.FAIL, (str(error), *signed), critical=True)
    ours = [o for o in orders if o.client_order_id.startswith(prefixes)]
    sent = [f"{o.side} {o.orig_qty} {o.status} {o.client_order_id}" for o in ours]
    told = (*signed, *sent) or (
        f"no order of the drill's in {' or '.join(symbols)}, no request signed",
    )
    return Check(key, _QUIET, checks.outcome(not signed and not sent), told, critical=True)
