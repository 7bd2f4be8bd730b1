"""Redis as it runs: every write is kept, there is room, and each user may do what is its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import redis

from quantum_exit import keys
from quantum_exit.bus.connection import connect
from quantum_exit.proofs import checks, host
from quantum_exit.proofs.model import Check, Figure, Outcome
from quantum_exit.values import Unknown

PASSWORD_FILE: Final = "/etc/quantum/redis.env"  # noqa: S105 - the name of a file
FULL_AT_PCT: Final = 80.0
_MAINTENANCE: Final = "maintenance"

_PLAN: Final = ("XADD", keys.APPLY_PLAN, "*", "f", "x")
_RESULT: Final = ("XADD", keys.APPLY_RESULT, "*", "f", "x")
_INTENT: Final = ("XADD", keys.EXIT_INTENT, "*", "f", "x")
_RELEASE: Final = ("SET", keys.KILL_SWITCH, "x")
_PERMIT: Final = ("SET", keys.permit("x"), "x")
_DRILL: Final = ("SET", keys.drill("x"), "x")
_DELEGATE: Final = ("SET", keys.delegation("x"), "x")
_POSITION: Final = ("HSET", keys.snapshot("x"), "f", "x")
_POSITIONS: Final = ("HSET", keys.SNAPSHOT_STATE, "f", "x")
_LEDGER: Final = ("HSET", keys.ledger("x"), "f", "x")
_FORGET: Final = ("DEL", keys.executor_intent_used("x"))
_POLICY: Final = ("HSET", keys.POLICY_CURRENT, "f", "x")
_LANE: Final = ("SET", keys.MANUAL_LANE_ENABLED, "x")
_TAKE: Final = ("XACK", keys.ALERTS, keys.GROUP_ALERTS, "1-1")
_SILENCE: Final = ("XDEL", keys.ALERTS, "1-1")
_EMPTY: Final = ("FLUSHALL",)
_OPERATOR: Final = "operator"

WHO_MAY: Final[tuple[tuple[tuple[str, ...], frozenset[str]], ...]] = (
    (_INTENT, frozenset({"exitbrain", _OPERATOR})),
    (_RESULT, frozenset({"intent_executor"})),
    (_RELEASE, frozenset({_OPERATOR})),
    (_PERMIT, frozenset({"position_state"})),
    (_DELEGATE, frozenset({_OPERATOR})),
    (_DRILL, frozenset({_OPERATOR})),
    (_POSITION, frozenset({"position_state"})),
    (_POSITIONS, frozenset({"position_state"})),
    (_LEDGER, frozenset({"intent_executor"})),
    (_FORGET, frozenset({"intent_executor"})),
    (_POLICY, frozenset({"policy_refresh"})),
    (_LANE, frozenset({_OPERATOR})),
    (_TAKE, frozenset({"alerts"})),
    (_SILENCE, frozenset()),
    (_EMPTY, frozenset()),
)
"""What the safety of the whole rests on, and the only users that may do it. Plans are not among
it: any producer may send them."""
_SENDS_NO_PLAN: Final = ("exitbrain", "position_state", "intent_executor", "exit_owner_watch")


def persistence_check(bus: redis.Redis) -> Check:
    """What was acknowledged is on disk, and nothing is thrown out to make room."""
    name, key = "Redis keeps every write", "redis_kept"
    info = bus.info()
    facts = {
        "append-only file on": info.get("aof_enabled") == 1,
        "its last write ok": info.get("aof_last_write_status", "ok") == "ok",
        "evicts nothing": info.get("maxmemory_policy") == "noeviction",
    }
    told = tuple(f"{what}: {'yes' if fine else 'NO'}" for what, fine in facts.items())
    return Check(key, name, checks.outcome(all(facts.values())), told)


def memory_check(bus: redis.Redis) -> Check:
    """Full means refused: then no plan gets a result."""
    name, key = f"Redis uses less than {FULL_AT_PCT:.0f} % of its memory", "redis_memory"
    info = bus.info("memory")
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    if not most:
        told = f"{used // 2**20} MiB used, no limit set"
        return Check(key, name, Outcome.INFO, (told,))
    share = 100 * used / most
    figure = Figure("redis_memory", share, "%", most=FULL_AT_PCT)
    told = f"{used // 2**20} MiB of {most // 2**20} used ({share:.0f} %)"
    return Check(key, name, checks.outcome(share < FULL_AT_PCT), (told,), figures=(figure,))


def access_check(url: str) -> Check:
    """Strangers are refused; what the whole rests on may be done by its own user alone. The
    server is asked what it would answer; nothing is tried."""
    name, key = "Redis lets nobody in but its users, and each no further than it may", "redis_acl"
    if not _refuses_strangers(url):
        why = ("whoever does not log in may read",)
        return Check(key, name, Outcome.FAIL, why, critical=True)
    passwords = host.read_env_file(PASSWORD_FILE)
    if isinstance(passwords, Unknown):
        half = ("refuses without a login: yes", f"users not asked about: {passwords.why}")
        return Check(key, name, Outcome.PASS, half, critical=True)
    try:
        wrong, asked = _ask(_as_maintenance(url, passwords))
    except redis.RedisError as error:
        return Check(key, name, Outcome.FAIL, (f"{_MAINTENANCE}: {error}",), critical=True)
    told = ("refuses without a login: yes", *wrong[:10], f"{asked} rules asked about")
    return Check(key, name, checks.outcome(not wrong), told, critical=True)


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


def _as_maintenance(url: str, passwords: Mapping[str, str]) -> redis.Redis:
    parts = urlsplit(url)
    password = passwords.get(f"REDIS_PASSWORD_{_MAINTENANCE.upper()}", "")
    server = f"{_MAINTENANCE}:{password}@{parts.hostname}:{parts.port or 6379}"
    return connect(urlunsplit((parts.scheme, server, parts.path, "", "")), decode=True)


def _ask(maintenance: redis.Redis) -> tuple[list[str], int]:
    """What is not as it must be, and how many questions were asked."""
    users = [str(u) for u in maintenance.acl_users() if not str(u).startswith("revision-")]
    wrong = []
    questions = list(_questions(users))
    pipe: Any = maintenance.pipeline(transaction=False)
    for user, command, _ in questions:
        pipe.execute_command("ACL", "DRYRUN", user, *command)
    for (user, command, may), answer in zip(
        questions, pipe.execute(raise_on_error=False), strict=True
    ):
        if isinstance(answer, redis.RedisError):
            raise answer
        can = answer in ("OK", b"OK", True)
        if can is not may:
            word = "may" if can else "may NOT"
            wrong.append(f"{user} {word} {' '.join(command[:2])}")
    return wrong, len(questions)


def _questions(users: Iterable[str]) -> Iterable[tuple[str, tuple[str, ...], bool]]:
    """Who, what, and whether it must be allowed."""
    for user in users:
        if user == "default":
            continue
        for command, may in WHO_MAY:
            yield user, command, user in may
        if user in _SENDS_NO_PLAN:
            yield user, _PLAN, False
