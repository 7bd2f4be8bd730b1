"""What the tests of the process send and read."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import redis

from quantum_exit import keys
from quantum_exit.signing import PLAN_FIELDS, Signer, generate_seed

from ..conftest import wait_for as wait_at_most

OWNER = "exitbrain_v3_5"
SIGNER = Signer(generate_seed())
SYMBOL = "BTCUSDT"


def wait_for(condition: Callable[[], object], what: str, timeout_s: float = 20.0) -> None:
    """A process needs a while to start, on a busy machine more."""
    wait_at_most(condition, what, timeout_s)


def heartbeat(client: redis.Redis) -> dict[str, str]:
    return dict(client.hgetall(keys.heartbeat("position_state")))


def ready(client: redis.Redis) -> bool:
    return heartbeat(client).get("ready") == "true"


def plan(plan_id: str = "p-1", **changes: str) -> dict[str, str]:
    return {
        "plan_id": plan_id,
        "decision": "EXECUTE",
        "symbol": SYMBOL,
        "side": "SELL",
        "type": "MARKET",
        "qty": "5",
        "reduceOnly": "true",
        "source": OWNER,
        "signature": "apply_layer",
        "timestamp": f"{time.time():.6f}",
    } | changes


def signed(fields: dict[str, str]) -> dict[str, str]:
    return fields | {"sig": SIGNER.sign(fields, PLAN_FIELDS)}


def send(client: redis.Redis, fields: dict[str, str], stream: str = keys.APPLY_PLAN) -> str:
    return str(client.xadd(stream, dict(fields)))


def permit(client: redis.Redis, plan_id: str = "p-1", timeout_s: float = 15) -> dict[str, Any]:
    wait_for(lambda: client.exists(keys.permit(plan_id)), f"a permit for {plan_id}", timeout_s)
    body: dict[str, Any] = json.loads(client.get(keys.permit(plan_id)))
    return body


def ask(client: redis.Redis, plan_id: str = "p-1", **changes: str) -> dict[str, Any]:
    send(client, signed(plan(plan_id, **changes)))
    return permit(client, plan_id)


def snapshot(client: redis.Redis, symbol: str = SYMBOL) -> dict[str, str]:
    return dict(client.hgetall(keys.snapshot(symbol)))


def alerts(client: redis.Redis, alert_type: str) -> list[dict[str, str]]:
    found = [fields for _, fields in client.xrange(keys.ALERTS)]
    return [fields for fields in found if fields["alert_type"] == alert_type]


def ledger(client: redis.Redis, amount: str) -> None:
    client.hset(
        keys.ledger(SYMBOL),
        mapping={"position_amt": amount, "updated_at": f"{time.time():.6f}"},
    )
