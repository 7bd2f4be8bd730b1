"""A producer's password before: accepted for as long as was said, and then by nobody any more."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from quantum_exit.bus.connection import connect
from quantum_exit.rotation import acl, files, overlap
from quantum_exit.rotation.journal import Journal, Kind
from quantum_exit.rotation.run import Request, Rotation
from quantum_exit.rotation.services import Condition
from quantum_exit.rotation.transaction import Report

from ..conftest import RedisServer
from ..exitctl.test_acl import rules_of

NEW, OLD, LOGIN, OPERATOR = ("1" * 64, "2" * 64, "3" * 64, "4" * 64)
BRIDGE = [
    "resetchannels",
    "+ping",
    "+auth",
    "+client|setname",
    "(+xadd ~quantum:stream:apply.plan)",
]


@dataclass(frozen=True)
class Host:
    """Its secrets, and a Redis that takes both passwords of the producer."""

    directory: Path
    acl_file: Path
    url: str

    def producer(self, password: str) -> redis.Redis:
        return connect(re.sub("//", f"//intent_bridge:{password}@", self.url))

    def replaced(self, until_epoch: float) -> None:
        """As a rotation wrote it down."""
        (self.directory / "redis.env").write_text(
            f"REDIS_PASSWORD_MAINTENANCE={LOGIN}\n"
            f"REDIS_PASSWORD_OPERATOR={OPERATOR}\n"
            f"REDIS_PASSWORD_INTENT_BRIDGE={NEW}\n"
            f"REDIS_REPLACED_INTENT_BRIDGE={acl.hashed(OLD)}:{until_epoch:.0f}\n"
        )

    def accepts(self, password: str) -> bool:
        client = self.producer(password)
        try:
            return bool(client.ping())
        except redis.AuthenticationError:
            return False
        finally:
            client.close()

    def end_what_is_due(self) -> int:
        return overlap.main([str(self.directory), str(self.acl_file)])


@pytest.fixture
def host(tmp_path: Path, durable_redis: RedisServer) -> Host:
    directory, acl_file = tmp_path / "secrets", tmp_path / "quantum.acl"
    directory.mkdir()
    users = {
        "maintenance": ([LOGIN], rules_of("maintenance")),
        "operator": ([OPERATOR], rules_of("operator")),
        "intent_bridge": ([NEW, OLD], BRIDGE),
    }
    lines = []
    admin = durable_redis.client()
    for name, (passwords, rules) in users.items():
        hashes = [f"#{acl.hashed(password)}" for password in passwords]
        admin.execute_command("ACL", "SETUSER", name, "on", *hashes, *rules)
        lines.append(f"user {name} on {' '.join(hashes)} {' '.join(rules)}\n")
    admin.close()
    acl_file.write_text("".join(lines))
    (directory / "operator.env").write_text(
        f"REDIS_URL={re.sub('//', f'//operator:{OPERATOR}@', durable_redis.url)}\n"
    )
    return Host(directory, acl_file, durable_redis.url)


def test_it_ends_when_its_time_is_over(host: Host) -> None:
    host.replaced(time.time() + 60)
    held, new = host.producer(OLD), host.producer(NEW)
    assert held.ping()
    assert host.end_what_is_due() == 0
    assert held.ping()
    assert host.accepts(OLD)

    host.replaced(time.time() - 1)
    assert host.end_what_is_due() == 0
    with pytest.raises(redis.ConnectionError):
        held.ping()  # whoever is connected is not asked again: he is sent away
    assert not host.accepts(OLD)
    assert host.accepts(NEW)
    assert new.ping()
    assert acl.hashed(OLD) not in host.acl_file.read_text()
    assert acl.hashed(NEW) in host.acl_file.read_text()
    assert "REPLACED" not in (host.directory / "redis.env").read_text()
    assert f"REDIS_PASSWORD_INTENT_BRIDGE={NEW}" in (host.directory / "redis.env").read_text()


def test_ended_by_hand_nobody_stays_connected_either(host: Host) -> None:
    host.replaced(time.time() + 60)
    held = host.producer(OLD)
    assert held.ping()
    request = Request(
        Kind.PRODUCERS,
        "testnet",
        end_overlap=True,
        directory=host.directory,
        acl_file=host.acl_file,
    )
    Rotation(request, Report()).run()
    with pytest.raises(redis.ConnectionError):
        held.ping()
    assert not host.accepts(OLD)


def test_it_keeps_out_of_the_way_of_a_rotation(host: Host) -> None:
    host.replaced(time.time() - 1)
    with files.exclusive(host.directory, 1):
        assert host.end_what_is_due() == 0
    assert host.accepts(OLD), "there is a next time"
    journal = Journal(host.directory)
    journal.stage(Kind.REDIS, {}, {}, Condition("live", (), {}))
    assert host.end_what_is_due() == 0
    assert journal.load() is not None
    assert host.accepts(OLD), "the rotation that was cut off knows what is to be accepted"


def test_a_redis_that_is_away_makes_it_fail_and_try_again(
    host: Host, durable_redis: RedisServer
) -> None:
    host.replaced(time.time() - 1)
    durable_redis.kill()
    assert host.end_what_is_due() == 1
    assert "REPLACED" in (host.directory / "redis.env").read_text()


def test_where_nothing_is_due_nothing_is_asked(host: Host, durable_redis: RedisServer) -> None:
    host.replaced(time.time() + 60)
    durable_redis.kill()
    assert host.end_what_is_due() == 0
