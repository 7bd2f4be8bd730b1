"""What an executor does first: settle the intentions a predecessor left open.

Starting and recovering are the same path. Only the symbols of open grants wait for it.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from quantum_exit.bus.connection import RedisClient
from quantum_exit.executor.context import Context
from quantum_exit.executor.grant import OpenGrant, load_grant
from quantum_exit.executor.store import Entry, Store
from quantum_exit.executor.work import Work, slim
from quantum_exit.gates.authority import examine
from quantum_exit.gates.model import Lane, Order
from quantum_exit.gates.permit import Permit
from quantum_exit.messages import Malformed, decode_fields, parse_plan

log = logging.getLogger(__name__)

RUN_ID_KEY: Final = "quantum:executor:redis_run_id"


def resume_open_grants(context: Context, store: Store) -> int:
    """Hands every open grant to the resolver; returns how many there were."""
    count = 0
    for identity, text in store.open_grants().items():
        try:
            grant = load_grant(text)
        except (ValueError, KeyError, TypeError):
            # Never written by us. Left where it is: the kill switch's wait must see it too.
            log.exception("open grant %s cannot be read", identity)
            continue
        entry = Entry(grant.stream, grant.group, grant.entry_id)
        context.in_flight.admit(grant.identity, entry)
        context.lanes.hold(grant.symbol)
        context.resolver.follow(_work_of(context, store.redis, grant, entry), grant)
        count += 1
    return count


def _work_of(context: Context, redis: RedisClient, grant: OpenGrant, entry: Entry) -> Work | None:
    """The plan of a grant, read again; None when its entry is gone or no longer a plan."""
    found: Any = redis.xrange(grant.stream, min=grant.entry_id, max=grant.entry_id)
    if not found:
        return None
    fields = decode_fields(found[0][1])
    plan = fields if isinstance(fields, Malformed) else parse_plan(fields)
    if isinstance(plan, Malformed):
        return None
    gates = context.settings.gates
    claim = examine(plan, Lane(grant.lane), gates.owner, context.settings.verifier)
    if claim.identity != grant.identity:
        return None
    order = Order(grant.qty, grant.reduces, by_owner=plan.source == gates.owner)
    return Work(slim(claim), entry, order, grant=grant, permit=_used_up(grant))


def _used_up(grant: OpenGrant) -> Permit:
    """The permit that the grant used up, as far as the grant tells: its quantity is what the
    permit left of the plan's. It cannot have been older than the plan."""
    return Permit(
        allow=True,
        safe_qty=grant.qty,
        symbol=grant.symbol,
        reason="used up by an earlier attempt",
        created_at=float(grant.plan_timestamp),
        source=grant.source,
    )


def trusted_since(redis: RedisClient, now_epoch: float) -> float:
    """Since when this life of Redis remembers all that we sent, Unix seconds.

    A Redis restored from a backup has forgotten grants and done marks. Plans dated before
    the moment we first met it are looked up on the exchange before they are sent.
    """
    run_id = str(redis.info("server")["run_id"])
    known = redis.get(RUN_ID_KEY)
    text = known.decode() if isinstance(known, bytes) else ""
    met_id, _, met_epoch = text.partition(" ")
    if met_id == run_id and met_epoch:
        return float(met_epoch)
    redis.set(RUN_ID_KEY, f"{run_id} {now_epoch:.6f}")
    return now_epoch
