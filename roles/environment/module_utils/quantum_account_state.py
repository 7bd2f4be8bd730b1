"""What Redis holds of an account: it goes with the account when a host moves to another one.

Our fills, baselines and holds, the brain's tracks and books are true of one account alone. They
are set aside under the name of the environment that is left, and come back with it. Only while
no service runs.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from ansible.module_utils.quantum_host_environment import SECRETS, variables

RECORD = "quantum:environment"
META = "quantum:exitbrain:meta"
RESULTS = "quantum:stream:apply.result"
OPEN = "quantum:executor:open"
OF_ACCOUNT = (
    "quantum:position:snapshot:*",
    "quantum:position:ledger:*",
    "quantum:permits:baseline:*",
    "quantum:permits:stops",
    "quantum:permits:snapshot_state",
    "quantum:reconcile:hold:*",
    "quantum:exitbrain:tracks",
    "quantum:exitbrain:books",
    "quantum:exitbrain:stops",
    META,
)
TIMEOUT_S = 10


class RedisError(Exception):
    """Redis did not do it; the text says what it answered."""


class Redis:
    """redis-cli as one user. A password goes through its environment, never an argument."""

    def __init__(self, user: str, secrets: Path = SECRETS) -> None:
        passwords = variables(secrets / "redis.env")
        self._user = user
        self._password = passwords.get(f"REDIS_PASSWORD_{user.upper()}", "")

    def lines(self, *words: str) -> list[str]:
        """What one command answers, a line for each element."""
        return self._run([*words], "")

    def transaction(self, commands: Iterable[tuple[str, ...]]) -> None:
        """All or none of them, as far as Redis itself goes."""
        text = "\n".join(" ".join(map(quoted, words)) for words in commands)
        self._run([], f"MULTI\n{text}\nEXEC\n")

    def _run(self, words: list[str], text: str) -> list[str]:
        command = ["redis-cli", "--user", self._user, "--no-auth-warning", "-e", *words]
        try:
            done = subprocess.run(
                command,
                input=text,
                env={**os.environ, "REDISCLI_AUTH": self._password},
                capture_output=True,
                text=True,
                check=False,
                timeout=TIMEOUT_S,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RedisError(f"redis-cli: {type(error).__name__}") from None
        if done.returncode != 0:
            raise RedisError(f"Redis: {(done.stderr or done.stdout).strip()[:300]}")
        return done.stdout.splitlines()


def quoted(word: str) -> str:
    """As redis-cli reads it back from its standard input."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def aside(environment: str, key: str = "") -> str:
    return f"{RECORD}:{environment}:{key}"


def moves(own: Iterable[str], kept: Iterable[str], left: str, target: str) -> list[tuple[str, ...]]:
    """Set the keys `own` aside for `left`, and bring those `kept` for `target` back."""
    away = [("RENAME", key, aside(left, key)) for key in sorted(own)]
    back = [("RENAME", key, key.removeprefix(aside(target))) for key in sorted(kept)]
    return [*away, *back]


def held_account(redis: Redis, otherwise: str) -> str:
    """The environment whose account state is in place."""
    found = redis.lines("HGET", RECORD, "name")
    return found[0] if found and found[0] else otherwise


def settle(reader: Redis, keeper: Redis, left: str, target: str) -> bool:
    """Have the state of the account of `target` in place. False if it was already."""
    if held_account(reader, left) == target:
        return False
    own = {key for pattern in OF_ACCOUNT for key in scan(reader, pattern)}
    kept = scan(reader, aside(target, "*"))
    commands = moves(own, kept, left, target)
    last = last_result(reader)
    record = ("name", target, "since_epoch", f"{time.time():.3f}", "results_after", last)
    commands.append(("HSET", RECORD, *record))
    if aside(target, META) in kept:
        # Results that came meanwhile are of the other account.
        commands.append(("HSET", META, "cursor", last))
    keeper.transaction(commands)
    return True


def scan(redis: Redis, pattern: str) -> set[str]:
    return set(filter(None, redis.lines("--scan", "--pattern", pattern)))


def last_result(redis: Redis) -> str:
    """The id of the newest result; 0-0 if there is none."""
    found = redis.lines("XREVRANGE", RESULTS, "+", "-", "COUNT", "1")
    return found[0] if found and found[0] else "0-0"
