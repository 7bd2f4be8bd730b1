"""Every command with the rights of its own Redis user, and no more."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import jinja2
import pytest
import redis
import yaml

from quantum_exit import keys

from ..conftest import REPOSITORY, RedisServer
from ..stack import Done, run_module
from .shell import Operator

RULES = REPOSITORY / "roles" / "redis" / "vars" / "main.yml"
PASSWORD = "a-password"


def rules_of(user: str) -> list[str]:
    """As the role renders them: words of the root rules, and each selector as one word."""
    variables = yaml.safe_load(RULES.read_text())
    [found] = [u for u in variables["__redis_service_users"] if u["name"] == user]
    words: list[str] = []
    for rule in found["rules"]:
        text = rule
        while "{{" in text:
            text = jinja2.Template(text).render(variables)
        text = " ".join(text.split())
        words += [text] if text.startswith("(") else text.split()
    return [word for word in words if word != "+client|setinfo"]  # unknown before Redis 7.2


@pytest.fixture
def guarded(durable_redis: RedisServer) -> Iterator[Callable[[str], str]]:
    """A durable Redis with our users and without the default one; makes a user's URL."""
    admin = durable_redis.client()
    for user in ("operator", "proof", "exit_owner_watch"):
        admin.execute_command("ACL", "SETUSER", user, "on", f">{PASSWORD}", *rules_of(user))
    yield lambda user: re.sub("//", f"//{user}:{PASSWORD}@", durable_redis.url)
    admin.close()


@pytest.fixture
def shell(
    operator: Operator, guarded: Callable[[str], str], durable_redis: RedisServer
) -> Callable[..., Done]:
    """exitctl as a Redis user on a host that is well, as far as Redis can tell."""
    operator.redis = durable_redis.client()
    operator.switch(active=False)
    for service in ("exitbrain", "apply_layer", "position_state", "intent_executor"):
        operator.beat(service, mode="LIVE")
    operator.positions_read()

    def run(user: str, *arguments: str) -> Done:
        operator.positions_read()
        operator.beat("position_state")
        return operator.run(*arguments, REDIS_URL=guarded(user))

    return run


def test_the_operator_may_do_what_exitctl_does(
    shell: Callable[..., Done], operator: Operator
) -> None:
    for arguments in (
        ("status",),
        ("kill", "--reason", "test"),
        ("resume", "--reason", "test"),
        ("manual-lane", "on", "--ttl", "1m"),
        ("manual-lane", "off"),
        ("delegate", "helper", "--ttl", "1m", "--reason", "test"),
        ("delegate", "helper", "--revoke", "--reason", "test"),
        ("audit",),
    ):
        done = shell("operator", *arguments)
        assert done.code == 0, (arguments, done)
    assert "NOPERM" not in shell("operator", "reconcile", "BTCUSDT", "--wait", "1s").err
    operator.redis.set(keys.executor_stopped_source("x"), "1")
    assert shell("operator", "rearm", "x").code == 0


def test_a_kill_that_waits_needs_no_more_rights(
    shell: Callable[..., Done], operator: Operator
) -> None:
    operator.grant()
    done = shell("operator", "kill", "--json")
    assert done.code == 0, done
    assert done.json["warnings"] == []


def test_proofs_run_with_the_proofs_own_user(shell: Callable[..., Done]) -> None:
    for name in ("exitbrain", "executor", "apply", "watch"):
        for user in ("proof", "operator"):
            done = shell(user, "proof", name, "--json")
            assert done.code in (0, 1, 2), (user, name, done)
            assert "NOPERM" not in done.out + done.err


def test_a_redis_as_deployed_is_durable_and_closed(
    shell: Callable[..., Done], durable_redis: RedisServer
) -> None:
    def outcome() -> list[str]:
        done = shell("proof", "proof", "host", "--json")
        seen = {t["key"]: t["outcome"] for t in done.json["tests"]}
        return [seen["redis_kept"], seen["redis_acl"]]

    assert outcome() == ["PASS", "FAIL"]  # the default user may still do everything
    proof = redis.Redis.from_url(durable_redis.url)
    proof.execute_command("ACL", "SETUSER", "default", "off")
    assert outcome() == ["PASS", "PASS"]


def test_the_watch_may_look_and_tell(
    shell: Callable[..., Done], guarded: Callable[[str], str], operator: Operator
) -> None:
    operator.redis.xadd(keys.APPLY_RESULT, {"error": "NOT_EXIT_OWNER:source=x", "plan_id": "p"})
    environ = {**operator.environ, "REDIS_URL": guarded("exit_owner_watch")}
    done = run_module("quantum_exit.alerts.watch", [], environ)
    assert done.code == 0, done
    kinds = [fields["alert_type"] for _, fields in operator.redis.xrange(keys.ALERTS)]
    assert "EXIT_OWNER_VIOLATION" in kinds
