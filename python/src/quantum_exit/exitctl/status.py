"""`exitctl status`: what holds right now, gathered from Redis, systemd and the host."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, cast

import redis

from quantum_exit import keys
from quantum_exit.brain.store import META
from quantum_exit.brain.track import Track
from quantum_exit.delegation import parse_delegation
from quantum_exit.exitctl.context import CommandError, Context, say_error
from quantum_exit.exitctl.status_view import render
from quantum_exit.exits.params import (
    BUILT_IN,
    HarvestParams,
    InvalidParamsError,
    parse_harvest_params,
)
from quantum_exit.exits.rules import next_target
from quantum_exit.policy.reader import StalePolicy, ValidPolicy, parse_policy
from quantum_exit.proofs import host, observe
from quantum_exit.settings import exit_owner
from quantum_exit.values import InvalidNumberError, Unknown, format_number, parse_amount

GROUPS: Final = (
    (keys.EXIT_INTENT, keys.GROUP_APPLY),
    (keys.APPLY_PLAN, keys.GROUP_EXECUTOR),
    (keys.APPLY_PLAN, keys.GROUP_PERMITS),
    (keys.APPLY_PLAN_MANUAL, keys.GROUP_EXECUTOR_MANUAL),
    (keys.APPLY_PLAN_MANUAL, keys.GROUP_PERMITS),
)
PROOF_LOG: Final = "/var/log/quantum/exitbrain_proof.log"
_PROOF_LOG_TAIL: Final = 16_384
_NAMED_KEYS: Final = "quantum:[depr]????????[ns:]*"
"""Delegations, snapshots, holds and stopped sources in one walk (`quantum:delegation:`,
`…position:snapshot:`, `…reconcile:hold:`, `…executor:stopped:`, by their tenth letter), and not the
done marks, which are the most."""

Document = dict[str, Any]


def run(context: Context) -> int:
    document: Document
    try:
        document = collect(context.redis(), context.environ)
    except (CommandError, redis.RedisError) as error:
        document = unread(context, error)
    context.emit(document, render(document))
    if "redis_error" in document:
        say_error(document["redis_error"])
        return 3
    return 0


def unread(context: Context, error: Exception) -> Document:
    """What can be seen when `collect` failed. A Redis that answers may be traded on."""
    if isinstance(error, (CommandError, redis.ConnectionError, redis.TimeoutError)):
        return without_redis(context.environ, str(error))
    return without_redis(context.environ, f"Redis refuses to tell: {error}") | {
        "redis_state": "REFUSES TO TELL: what trades is not known",
        "kill_switch": _switch_alone(context),
    }


def without_redis(environ: Mapping[str, str], error: str) -> Document:
    """What can be seen when Redis cannot."""
    place = observe.file_place(environ.get("QUANTUM_KILL_FILE", "").strip())
    return {
        "redis_error": error,
        "kill_switch": {"on": True, "places": [_place(place)], "why": "Redis does not answer"},
        "units": _units(),
        "redis_state": "DOES NOT ANSWER: nothing trades",
    }


def _switch_alone(context: Context) -> Document:
    places = [observe.file_place(context.environ.get("QUANTUM_KILL_FILE", "").strip())]
    with contextlib.suppress(CommandError, redis.RedisError):
        places.insert(0, observe.runtime_place(context.redis()))
    return {"on": any(place.blocks for place in places), "places": [_place(p) for p in places]}


@dataclass(frozen=True, slots=True)
class Rare:
    """What costs a walk over all keys or another process. A screen that looks every second
    reads this part less often."""

    units: Document | None
    symbols: frozenset[str]
    """Every symbol with a snapshot, flat ones too."""
    holds: tuple[str, ...]
    delegated: tuple[str, ...]
    """Sources with a delegation."""
    stopped: tuple[str, ...]
    """Sources that repeated themselves and may send nothing until a person re-arms them."""
    last_proof: Document | None


def read_rare(client: redis.Redis) -> Rare:
    """Raises redis.RedisError."""
    found = scan(client, _NAMED_KEYS)
    return Rare(
        units=_units(),
        symbols=frozenset(_after(found, keys.snapshot(""))),
        holds=tuple(_after(found, keys.reconcile_hold(""))),
        delegated=tuple(_after(found, keys.delegation(""))),
        stopped=tuple(_after(found, keys.executor_stopped_source(""))),
        last_proof=last_proof(PROOF_LOG),
    )


def collect(client: redis.Redis, environ: Mapping[str, str], rare: Rare | None = None) -> Document:
    """`rare`: of an earlier look, where it need not be read again. Raises redis.RedisError."""
    now_epoch = time.time()
    rare = rare or read_rare(client)
    beats = observe.read_beats(client, now_epoch)
    places = observe.kill_places(client, environ, beats)
    mode = observe.brain_mode(beats["exitbrain"])
    return {
        "time_epoch": now_epoch,
        "owner": exit_owner(environ),
        "mode": (
            {"state": "UNKNOWN", "why": [mode.why]}
            if isinstance(mode, Unknown)
            else {"state": str(mode.state), "why": list(mode.against)}
        ),
        "kill_switch": {
            "on": any(place.blocks for place in places),
            "places": [_place(place) for place in places],
        },
        "services": {name: _service(beat) for name, beat in beats.items()},
        "units": rare.units,
        "positions": _positions(client, rare.symbols, now_epoch),
        "open_plans": _open_plans(client, now_epoch),
        "pending": _pending(client),
        "policy": _policy(client, now_epoch),
        "manual_lane": manual_lane(client),
        "delegations": _delegations(client, rare.delegated),
        "holds": list(rare.holds),
        "stopped_sources": list(rare.stopped),
        "last_proof": rare.last_proof,
    }


def _place(place: observe.Place) -> Document:
    return {"name": place.name, "state": str(place.word), "why": place.why}


def _service(beat: observe.Beat | Unknown) -> Document:
    if isinstance(beat, Unknown):
        return {"ready": False, "fresh": False, "age_s": None, "status": beat.why}
    return {
        "ready": beat.ready and beat.fresh,
        "fresh": beat.fresh,
        "age_s": round(beat.age_s, 3),
        "status": beat.status,
        "pid": beat.pid,
        "cycle": beat.fields.get("cycle"),
        "unprotected_total_s": beat.fields.get("unprotected_total_s"),
    }


def _units() -> Document | None:
    """None without systemd."""
    if not host.has_systemd():
        return None
    states = host.read_units(host.UNITS.values())
    if isinstance(states, Unknown):
        return {"error": states.why}
    return {
        service: {
            "active": states[unit].active,
            "sub": states[unit].sub,
            "restarts": states[unit].restarts,
        }
        for service, unit in host.UNITS.items()
    }


def scan(client: redis.Redis, pattern: str) -> list[str]:
    return sorted(cast("Iterable[str]", client.scan_iter(match=pattern, count=1000)))


def _after(names: Iterable[str], prefix: str) -> list[str]:
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]


def _positions(client: redis.Redis, known: frozenset[str], now_epoch: float) -> Document:
    """`known`: symbols that had a snapshot; one opened since then is named by P3.3's state."""
    state = observe.read_hash(client, keys.SNAPSHOT_STATE)
    age_s = _age_s(state.get("ts_epoch"), now_epoch)
    held = observe.load_json(state.get("symbols"))
    symbols = known.union(map(str, held) if isinstance(held, list) else ())
    tracks = observe.read_tracks(client)
    params = _exit_params(client) if tracks else None
    rows = []
    for symbol in sorted(symbols):
        fields = observe.read_hash(client, keys.snapshot(symbol))
        if not fields:
            continue
        try:
            amount = parse_amount(fields.get("position_amt", ""))
        except InvalidNumberError:
            amount = Decimal("NaN")
        if amount == 0:
            continue
        rows.append(
            {
                "symbol": symbol,
                **{name: fields.get(name, "?") for name in ("side", "position_amt", "entry_price")},
                **{name: fields.get(name, "?") for name in ("mark_price", "unrealized_pnl")},
                "age_s": _age_s(fields.get("ts_epoch"), now_epoch),
                "guard": _guard(tracks.get(symbol), params, now_epoch),
            }
        )
    return {"read_age_s": age_s, "rows": rows}


def _exit_params(client: redis.Redis) -> HarvestParams | None:
    """The brain's, as it last wrote them down; None when they cannot be read."""
    text = cast("str | None", client.hget(META, "params_json"))
    try:
        return parse_harvest_params(text) if text else BUILT_IN
    except InvalidParamsError:
        return None


def _guard(track: Track | None, params: HarvestParams | None, now_epoch: float) -> Document | None:
    """What the Exit Brain holds for a position; None when it does not know the position."""
    if track is None:
        return None
    rules = track.rules
    target = next_target(params.for_symbol(track.symbol), rules) if params else None
    return {
        "stop": format_number(rules.stop),
        "target": None if target is None else format_number(target),
        "rule": str(rules.stop_rule),
        "closing": str(rules.closing) if rules.closing else None,
        "open_for_s": round(now_epoch - rules.opened_epoch, 1),
        "unprotected_s": track.unprotected_s,
    }


def _age_s(text: str | None, now_epoch: float) -> float | None:
    try:
        age_s = now_epoch - float(text or "")
    except ValueError:
        return None
    return round(age_s, 3) if math.isfinite(age_s) else None


def _open_plans(client: redis.Redis, now_epoch: float) -> list[Document]:
    plans: list[Document] = []
    for field, text in sorted(observe.read_hash(client, keys.EXECUTOR_OPEN).items()):
        grant = observe.load_json(text)
        if not isinstance(grant, dict):
            plans.append({"field": field, "state": "unreadable"})
            continue
        names = ("plan_id", "source", "symbol", "side", "type", "qty", "client_order_id", "state")
        signed_ms = grant.get("timestamp_ms")
        age_s = now_epoch - signed_ms / 1000 if isinstance(signed_ms, int | float) else None
        plans.append({**{name: grant.get(name) for name in names}, "age_s": age_s})
    return plans


def _pending(client: redis.Redis) -> list[Document]:
    rows = []
    for stream, group in GROUPS:
        try:
            summary = client.xpending(stream, group)
        except redis.ResponseError as error:
            missing = "NOGROUP" in str(error)
            rows.append({"stream": stream, "group": group, "pending": None, "missing": missing})
            continue
        rows.append({"stream": stream, "group": group, "pending": summary["pending"]})
    return rows


def _policy(client: redis.Redis, now_epoch: float) -> Document:
    policy = parse_policy(observe.read_hash(client, keys.POLICY_CURRENT), now_epoch)
    if isinstance(policy, ValidPolicy):
        left_s = policy.view.valid_until_epoch - now_epoch
        return {"state": "valid", "version": policy.view.version, "left_s": round(left_s)}
    if isinstance(policy, StalePolicy):
        return {
            "state": "STALE",
            "version": policy.view.version,
            "expired_for_s": round(policy.expired_for_s),
        }
    return {"state": "UNKNOWN", "why": policy.why}


def manual_lane(client: redis.Redis) -> Document:
    value = observe.read_text(client, keys.MANUAL_LANE_ENABLED)
    ttl_s = client.ttl(keys.MANUAL_LANE_ENABLED)
    return {"on": value == "1" and ttl_s > 0, "ttl_s": max(ttl_s, 0)}


def delegations(client: redis.Redis) -> list[Document]:
    return _delegations(client, _after(scan(client, keys.delegation("*")), keys.delegation("")))


def _delegations(client: redis.Redis, sources: Iterable[str]) -> list[Document]:
    rows = []
    for source in sources:
        key = keys.delegation(source)
        try:
            text = observe.read_text(client, key)
        except redis.ResponseError:
            continue  # of another type: nobody may exit by it
        ttl_ms = client.pttl(key)
        leave = parse_delegation(None if text is None else text.encode(), ttl_ms)
        if leave is None:
            continue  # it ran out since it was found, or nobody may exit by it
        content = observe.load_json(text)
        why = str(content.get("reason", ""))
        row = {"source": source, "symbol": leave.symbol or "all", "ttl_s": ttl_ms // 1000}
        rows.append({**row, "why": why})
    return rows


def last_proof(path: str) -> Document | None:
    """The last verdict in the log of the proof's timer, and when the log was written.
    None when there is no log or no verdict in it."""
    try:
        with Path(path).open("rb") as log:
            size = log.seek(0, 2)
            log.seek(max(size - _PROOF_LOG_TAIL, 0))
            tail = log.read().decode(errors="replace")
        age_s = time.time() - Path(path).stat().st_mtime
    except OSError:
        return None
    verdicts = [line for line in tail.splitlines() if line.startswith("FINAL VERDICT:")]
    if not verdicts:
        return None
    return {"verdict": verdicts[-1].removeprefix("FINAL VERDICT:").strip(), "age_s": round(age_s)}
