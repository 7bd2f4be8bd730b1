"""Publishing a policy, or saying why not: each in one atomic step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from redis.exceptions import ResponseError

from quantum_exit import keys
from quantum_exit.bus.connection import RedisClient
from quantum_exit.bus.refusals import is_wrong_type
from quantum_exit.policy.model import Policy
from quantum_exit.values import format_epoch

ACTOR: Final = "policy_refresh"


def publish(redis: RedisClient, policy: Policy, now_epoch: float) -> bool:
    """Replaces the current policy; True when its content changed. Raises redis.RedisError."""
    previous = _text(current(redis).get(b"policy_hash"))
    changed = previous != policy.policy_hash
    fields = policy.published(now_epoch)
    update = {
        "policy_version": policy.version,
        "policy_hash": policy.policy_hash,
        "valid_until_epoch": fields["valid_until_epoch"],
        "changed": "true" if changed else "false",
        "timestamp": format_epoch(now_epoch),
        "source": ACTOR,
    }
    pipe: Any = redis.pipeline(transaction=True)
    pipe.delete(keys.POLICY_CURRENT)
    pipe.hset(keys.POLICY_CURRENT, mapping=fields)
    pipe.xadd(keys.POLICY_UPDATE, update)
    pipe.xadd(
        keys.POLICY_AUDIT,
        {**update, "event": "published", "previous_hash": previous, "content": json.dumps(fields)},
    )
    pipe.execute()
    return changed


def current(redis: RedisClient) -> Mapping[bytes, bytes]:
    """The hash as it lies there. A key of another type is none, and does not hold up the
    policy that replaces it. Raises redis.RedisError."""
    try:
        found: Any = redis.hgetall(keys.POLICY_CURRENT)
    except ResponseError as error:
        if not is_wrong_type(error):
            raise
        return {}
    return found if isinstance(found, dict) else {}


def record_failure(
    redis: RedisClient, event: str, problems: Sequence[str], now_epoch: float
) -> None:
    """`event`: rejected (the policy is invalid) or not_checked. The current one stays."""
    fields: Mapping[str, str] = {
        "event": event,
        "problems": json.dumps(list(problems)[:100], ensure_ascii=False),
        "timestamp": format_epoch(now_epoch),
        "source": ACTOR,
    }
    redis.xadd(keys.POLICY_AUDIT, dict(fields.items()))


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else ""
