"""The executor's proof: layer 2 denies what it must, answers everything, and loses nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import redis

from quantum_exit import keys
from quantum_exit.binance.client import Client
from quantum_exit.binance.errors import ReadFailed
from quantum_exit.bus.connection import connect
from quantum_exit.proofs import checks, drill, exchange, observe
from quantum_exit.proofs.model import Check, Expect, Outcome, Proof
from quantum_exit.proofs.observe import Place
from quantum_exit.settings import exit_owner
from quantum_exit.values import Unknown

TITLE: Final = "INTENT EXECUTOR PROOF"
SERVICE: Final = "intent_executor"
OPEN_AT_MOST_S: Final = 120.0
_GROUPS: Final = (
    (keys.APPLY_PLAN, keys.GROUP_EXECUTOR),
    (keys.APPLY_PLAN_MANUAL, keys.GROUP_EXECUTOR_MANUAL),
)


def run(bus: redis.Redis, environ: Mapping[str, str], expect: Expect) -> Proof:
    """Raises redis.RedisError when Redis is gone."""
    began = time.time()
    beats = observe.read_beats(bus, began)
    places = observe.kill_places(bus, environ, beats)
    client = exchange.make_client(environ)
    tests = (
        checks.service(SERVICE, beats[SERVICE]),
        groups_check(bus),
        open_check(bus, began),
        switch_check(places, expect),
        *drill_checks(bus, environ, client),
        redis_check(bus, environ),
    )
    return Proof("executor", TITLE, began, tests)


def groups_check(bus: redis.Redis) -> Check:
    """Each stream has its reader, and nothing lies unanswered in it."""
    name, key = "Plan streams are read and answered", "groups"
    seen = [checks.group(bus, stream, group) for stream, group in _GROUPS]
    fine = all(ok for ok, _ in seen)
    told = tuple(text for _, text in seen)
    return Check(key, name, checks.outcome(fine), told, critical=True)


def open_check(bus: redis.Redis, now_epoch: float) -> Check:
    """An outcome that stays unknown holds its symbol; somebody must look."""
    told, fine = [], True
    for field, text in sorted(observe.read_hash(bus, keys.EXECUTOR_OPEN).items()):
        grant = observe.load_json(text)
        signed_ms = grant.get("timestamp_ms") if isinstance(grant, dict) else None
        if not isinstance(signed_ms, int):
            told.append(f"{field} cannot be read")
            fine = False
            continue
        age_s = now_epoch - signed_ms / 1000
        fine = fine and age_s <= OPEN_AT_MOST_S
        told.append(f"{grant.get('plan_id')} {grant.get('symbol')}: open for {age_s:.0f} s")
    name = f"No outcome unknown for more than {OPEN_AT_MOST_S:.0f} s"
    return Check("open", name, checks.outcome(fine), tuple(told) or ("no open plan",))


def switch_check(places: list[Place], expect: Expect) -> Check:
    """The places the executor goes by can be read, and say what is expected."""
    ours = [place for place in places if place.name != "env" or place.blocks]
    on = [place.name for place in ours if place.blocks]
    told = tuple(f"{place.name}: {place.word}, {place.why}" for place in ours)
    fine = bool(on) if expect is Expect.KILLED else not on
    wanted = "on" if expect is Expect.KILLED else "off"
    return Check("kill_switch", f"Kill switch {wanted}", checks.outcome(fine), told, critical=True)


def drill_checks(
    bus: redis.Redis, environ: Mapping[str, str], client: Client | Unknown
) -> tuple[Check, Check]:
    """Others' exits are denied, and nothing of them reached the exchange."""
    name, quiet = "Exits of others are denied", "Nothing of the drill reached the exchange"
    state = observe.read_hash(bus, keys.SNAPSHOT_STATE)
    held = observe.load_json(state.get("symbols"))
    symbol = drill.choose_symbol(bus, held if isinstance(held, list) else ())
    if not isinstance(held, list) or symbol is None:
        why = "no symbol without a position, or positions not known: not tried"
        skipped = Check("denials", name, Outcome.INFO, (why,), critical=True)
        return skipped, Check("quiet", quiet, Outcome.INFO, (why,))
    if bus.exists(keys.delegation(drill.PRODUCER)):
        why = f"{drill.PRODUCER} holds a delegation at the moment: not tried"
        skipped = Check("denials", name, Outcome.INFO, (why,), critical=True)
        return skipped, Check("quiet", quiet, Outcome.INFO, (why,))
    began_ms = _exchange_ms(client)
    try:
        answers = drill.run(bus, drill.make(exit_owner(environ), symbol, time.time()))
    except redis.exceptions.NoPermissionError:
        why = "this Redis user may send no plan; `exitctl proof executor` as root may"
        skipped = Check("denials", name, Outcome.INFO, (why,), critical=True)
        return skipped, Check("quiet", quiet, Outcome.INFO, (why,))
    fine = all(answer.right for answer in answers)
    told = (f"on {symbol}, in which nothing is held", *(answer.told for answer in answers))
    denials = Check("denials", name, checks.outcome(fine), told, critical=True)
    return denials, _quiet_check(quiet, client, symbol, began_ms)


def _exchange_ms(client: Client | Unknown) -> int | None:
    if isinstance(client, Unknown):
        return None
    try:
        return client.server_time()
    except ReadFailed:
        return None


def _quiet_check(name: str, client: Client | Unknown, symbol: str, began_ms: int | None) -> Check:
    key = "quiet"
    if isinstance(client, Unknown) or began_ms is None:
        why = client.why if isinstance(client, Unknown) else "the exchange does not answer"
        return Check(key, name, Outcome.FAIL, (why,), critical=True)
    try:
        orders = client.all_orders(symbol, start_ms=began_ms)
    except ReadFailed as error:
        return Check(key, name, Outcome.FAIL, (str(error),), critical=True)
    told = tuple(f"{o.side} {o.orig_qty} {o.status} {o.client_order_id}" for o in orders)
    fine = not told
    return Check(
        key, name, checks.outcome(fine), told or (f"no order in {symbol} since",), critical=True
    )


def redis_check(bus: redis.Redis, environ: Mapping[str, str]) -> Check:
    """Durable, evicting nothing, and closed to whoever does not log in."""
    name, key = "Redis keeps every write and lets nobody in", "redis"
    info = bus.info()
    facts = {
        "append-only file on": info.get("aof_enabled") == 1,
        "its last write ok": info.get("aof_last_write_status", "ok") == "ok",
        "evicts nothing": info.get("maxmemory_policy") == "noeviction",
        "refuses without a login": _refuses_strangers(environ["REDIS_URL"]),
        "refuses this user what it does not need": _refuses_config(bus),
    }
    told = tuple(f"{what}: {'yes' if fine else 'NO'}" for what, fine in facts.items())
    return Check(key, name, checks.outcome(all(facts.values())), told)


def _refuses_strangers(url: str) -> bool:
    """A connection to the same server without user and password must not read anything."""
    scheme, _, rest = url.partition("://")
    stranger = connect(f"{scheme}://{rest.rpartition('@')[2]}")
    try:
        stranger.exists(keys.KILL_SWITCH)
    except (redis.AuthenticationError, redis.exceptions.NoPermissionError):
        return True
    except redis.ResponseError as error:
        return "NOAUTH" in str(error)
    finally:
        stranger.close()
    return False


def _refuses_config(bus: redis.Redis) -> bool:
    try:
        bus.config_get("maxmemory")
    except redis.exceptions.NoPermissionError:
        return True
    return False
