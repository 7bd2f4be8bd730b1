"""`python -m quantum_exit.policy.refresh`: check the policy file and publish it, once.

Run by a timer. Exit status 0: published; 2: the policy is invalid; 3: it could not be checked
or published; 78: misconfigured. Except for 0 the policy published before stays until it goes
stale, which raises an alert.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from redis.exceptions import RedisError

from quantum_exit.alerts.publish import AlertType, Severity, publish_alert
from quantum_exit.binance.client import Client, ClientFactory
from quantum_exit.binance.errors import ReadFailed
from quantum_exit.binance.model import Credentials
from quantum_exit.bus.connection import RedisClient, connect
from quantum_exit.policy.file import UnreadableError, read_policy_file
from quantum_exit.policy.model import InvalidPolicyError, Policy, check_against
from quantum_exit.policy.publish import current, publish, record_failure
from quantum_exit.policy.reader import ValidPolicy, read_policy
from quantum_exit.settings import (
    ConfigError,
    base_url,
    is_testnet,
    redis_url,
    required,
    run_service,
)

PUBLISHED: Final = 0
INVALID: Final = 2
NOT_RUN: Final = 3


@dataclass(frozen=True, slots=True)
class _Failure:
    status: int
    event: str
    problems: tuple[str, ...]


def main(environ: Mapping[str, str]) -> int:
    path = Path(required(environ, "QUANTUM_POLICY_FILE", "set it to the path of policy.yml"))
    url = redis_url(environ)
    client = _exchange(environ)
    found = _checked(path, client)
    redis = connect(url, name="policy_refresh")
    try:
        if isinstance(found, _Failure):
            return _fail(redis, found)
        changed = publish(redis, found, time.time())
    except RedisError as error:
        print(f"Redis: {error}: nothing was published", file=sys.stderr)
        return NOT_RUN
    how = "published" if changed else "unchanged, its validity extended"
    print(f"policy {found.version}: {how}; {len(found.universe)} symbols")
    return PUBLISHED


def _exchange(environ: Mapping[str, str]) -> Client:
    """With a key pair the leverage brackets are checked too; everything else is public."""
    testnet = is_testnet(environ)
    key = environ.get("BINANCE_API_KEY", "").strip()
    secret = environ.get("BINANCE_API_SECRET", "").strip()
    try:
        credentials = Credentials(key, secret) if key and secret else None
    except ValueError as error:
        raise ConfigError(f"BINANCE_API_KEY, BINANCE_API_SECRET: {error}") from None
    return ClientFactory(credentials, base_url(environ, testnet=testnet)).make()


def _checked(path: Path, client: Client) -> Policy | _Failure:
    try:
        policy = read_policy_file(path)
        check_against(policy, client.exchange_info(), _max_leverages(client))
    except InvalidPolicyError as error:
        return _Failure(INVALID, "rejected", error.problems)
    except (UnreadableError, ReadFailed) as error:
        return _Failure(NOT_RUN, "not_checked", (str(error),))
    return policy


def _max_leverages(client: Client) -> dict[str, int] | None:
    """They need a key that may read; without them the exchange itself refuses a leverage."""
    try:
        return client.max_leverages()
    except ReadFailed as error:
        print(f"leverage brackets not checked: {error}", file=sys.stderr)
        return None


def _fail(redis: RedisClient, failure: _Failure) -> int:
    for problem in failure.problems:
        print(problem, file=sys.stderr)
    now = time.time()
    state = read_policy(current(redis), now)
    record_failure(redis, failure.event, failure.problems, now)
    if isinstance(state, ValidPolicy):
        left_min = (state.view.valid_until_epoch - now) / 60
        print(f"the policy published before counts for {left_min:.0f} min more", file=sys.stderr)
    else:
        details: dict[str, object] = {
            "problems": list(failure.problems)[:20],
            "consequence": "nothing is opened; exits go on",
            "mend": "correct the policy file, then start quantum-policy-refresh.service",
        }
        publish_alert(redis, AlertType.POLICY_STALE, Severity.CRITICAL, details, now)
    return failure.status


if __name__ == "__main__":
    run_service(main)
