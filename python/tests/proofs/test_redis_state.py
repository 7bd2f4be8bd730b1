"""Each may do in Redis what is its own, and nobody else: asked of the rules as deployed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
import yaml

from quantum_exit.proofs.redis_state import WHO_MAY, _ask

from ..conftest import RedisServer
from ..exitctl.test_acl import RULES, rules_of

USERS = [user["name"] for user in yaml.safe_load(RULES.read_text())["__redis_service_users"]]
PRODUCER = "intent_bridge"


@pytest.fixture
def guarded(durable_redis: RedisServer) -> Iterator[redis.Redis]:
    """As whoever may ask about all rules."""
    admin = durable_redis.client()
    for user in USERS:
        admin.execute_command("ACL", "SETUSER", user, "on", "nopass", *rules_of(user))
    producer = ("(+xadd ~quantum:stream:apply.plan)", "+auth", "+ping")
    admin.execute_command("ACL", "SETUSER", PRODUCER, "on", "nopass", *producer)
    yield admin
    admin.close()


def test_the_rules_as_deployed_are_as_they_must_be(guarded: redis.Redis) -> None:
    wrong, asked = _ask(guarded)
    assert wrong == []
    assert asked >= len(WHO_MAY) * (len(USERS) + 1)


@pytest.mark.parametrize("command", [command for command, _ in WHO_MAY], ids=" ".join)
def test_a_right_too_many_is_seen(guarded: redis.Redis, command: tuple[str, ...]) -> None:
    key = f" ~{command[1]}" if len(command) > 1 else ""
    guarded.execute_command("ACL", "SETUSER", PRODUCER, f"(+{command[0].lower()}{key})")
    wrong, _ = _ask(guarded)
    assert wrong == [f"{PRODUCER} may {' '.join(command[:2])}"]


@pytest.mark.parametrize(
    ("command", "users"), [(command, users) for command, users in WHO_MAY if users]
)
def test_a_right_that_is_missing_is_seen(
    guarded: redis.Redis, command: tuple[str, ...], users: frozenset[str]
) -> None:
    guarded.execute_command("ACL", "SETUSER", min(users), "reset", "on", "nopass")
    wrong, _ = _ask(guarded)
    assert f"{min(users)} may NOT {' '.join(command[:2])}" in wrong
