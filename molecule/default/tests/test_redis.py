"""The server: reachable from the host alone, hardened, and nothing acknowledged is lost."""

from __future__ import annotations

import re
import time

import pytest
import redis
from conftest import PASSWORDS, AsUser
from testinfra.host import Host


def wait_until_answering(host: Host, client: redis.Redis, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            client.ping()
        except redis.RedisError:
            assert time.monotonic() < deadline, host.run("journalctl -u redis-server -n 20").stdout
            time.sleep(0.1)
        else:
            return


def main_pid(host: Host) -> int:
    return int(host.check_output("systemctl show redis-server --property MainPID --value"))


def test_runs_and_starts_at_boot(host: Host) -> None:
    service = host.service("redis-server")
    assert service.is_running
    assert service.is_enabled


def test_listens_on_loopback_alone(host: Host) -> None:
    listening = host.check_output("ss --no-header --listening --tcp --numeric 'sport = 6379'")
    addresses = {line.split()[3].rsplit(":", 1)[0] for line in listening.splitlines()}
    assert addresses == {"127.0.0.1", "[::1]"}


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("maxmemory-policy", "noeviction"),
        ("protected-mode", "yes"),
        ("requirepass", ""),
        ("aclfile", "/etc/redis/quantum.acl"),
    ],
)
def test_runs_with_setting(as_user: AsUser, setting: str, value: str) -> None:
    assert as_user("maintenance").config_get(setting) == {setting: value}


@pytest.mark.parametrize(
    ("path", "mode", "group"),
    [
        (PASSWORDS, 0o600, "root"),
        ("/etc/redis/quantum.acl", 0o640, "redis"),
        ("/etc/redis/quantum.conf", 0o644, "root"),
    ],
)
def test_file(host: Host, path: str, mode: int, group: str) -> None:
    found = host.file(path)
    assert (found.user, found.group, found.mode) == ("root", group, mode)


def test_passwords_are_random_and_their_own(host: Host) -> None:
    values = re.findall(r"^REDIS_PASSWORD_[A-Z_]+=(.*)$", host.file(PASSWORDS).content_string, re.M)
    assert len(values) >= 9
    assert len(set(values)) == len(values)
    assert all(re.fullmatch("[0-9a-f]{64}", value) for value in values)


def test_rules_hold_no_password(host: Host) -> None:
    rules = host.file("/etc/redis/quantum.acl").content_string
    for line in host.file(PASSWORDS).content_string.splitlines():
        assert line.partition("=")[2] not in rules


def test_exposure_is_low(host: Host) -> None:
    verdict = host.check_output("systemd-analyze security redis-server --no-pager | tail -1")
    exposure = float(re.search(r"redis-server.service: ([0-9.]+)", verdict)[1])
    assert exposure <= 1.2


def test_acknowledged_writes_survive_kill_9(host: Host, as_user: AsUser) -> None:
    operator, executor = as_user("operator"), as_user("intent_executor")
    names = [f"quantum:operator:molecule:{number}" for number in range(3)]
    counter = "quantum:executor:molecule"
    operator.set(names[0], "alone")
    # Transactions and scripts take another way through the append-only file.
    with operator.pipeline(transaction=True) as transaction:
        transaction.set(names[1], "together").set(names[2], "together").execute()
    script = "redis.call('HSET', KEYS[1], 'a', 1); redis.call('HSET', KEYS[1], 'b', 2)"
    executor.eval(script, 1, counter)
    before = main_pid(host)
    host.check_output(f"kill -9 {before}")
    wait_until_answering(host, operator)
    assert main_pid(host) != before
    assert operator.mget(names) == ["alone", "together", "together"]
    assert operator.hgetall(counter) == {"a": "1", "b": "2"}
    operator.delete(*names)
    executor.delete(counter)


def test_nothing_was_left_out_when_the_file_was_read(host: Host) -> None:
    said = host.run("journalctl --unit redis-server --no-pager --grep CRITICAL --output cat")
    assert "AOF-loading" not in said.stdout
