"""The packet filter, from beyond the host; and that nobody can lock himself out with it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import SSH_CONFIG
from stage import until
from testinfra.host import Host

ROOT = Path(__file__).parents[3]
TABLE = "nft list table inet quantum"
# Not the host from itself: what a timer starts just now would fail.
LOCKED_OUT = """
table inet quantum
delete table inet quantum
table inet quantum {
  chain input {
    type filter hook input priority -5; policy drop;
    iif lo accept
  }
}
"""


def name_of(host: Host) -> str:
    return str(host.backend.get_hostname())


def address_of(host: Host) -> str:
    command = ["ssh", "-F", str(SSH_CONFIG), "-G", name_of(host)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return next(line.split()[1] for line in said.splitlines() if line.startswith("hostname "))


def is_reached(host: Host, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address_of(host), port)) == 0


def lets_in(host: Host) -> bool:
    """By a new connection, with a key: sshd shuts out who knocks and says nothing."""
    options = ["-F", str(SSH_CONFIG), "-o", "ControlPath=none", "-o", "ConnectTimeout=1"]
    command = ["ssh", *options, name_of(host), "true"]
    try:
        # An ssh that is killed leaves the input it was given non-blocking, for everybody.
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=4
        )
        return done.returncode == 0
    except subprocess.TimeoutExpired:  # shut out in the midst of it
        return False


@contextmanager
def listening(host: Host, port: int) -> Iterator[None]:
    """Something on the host that would answer everybody."""
    unit, address = f"molecule-listens-{port}", address_of(host)
    serve = f"python3 -m http.server --bind {address} {port}"
    host.check_output(f"systemd-run --unit={unit} --collect {serve}")
    try:
        ss = f"ss --no-header --listening --tcp --numeric 'src {address}:{port}'"
        until("it listens", lambda: host.check_output(ss))
        yield
    finally:
        host.check_output(f"systemctl stop {unit}")


def test_its_own_unit_is_sandboxed_too(host: Host) -> None:
    verdict = host.check_output("systemd-analyze security quantum-firewall --no-pager | tail -1")
    assert float(verdict.split("quantum-firewall.service: ")[1].split()[0]) <= 2.0


def test_what_is_ours_is_reached_from_the_host_alone(host: Host) -> None:
    with listening(host, 6379):
        assert not is_reached(host, 6379)
        try:
            host.check_output("systemctl stop quantum-firewall")
            assert is_reached(host, 6379), "without the filter it should have been reached"
        finally:
            host.check_output("systemctl start quantum-firewall")
        assert not is_reached(host, 6379)


def test_what_is_others_is_left_alone_or_closed_as_the_profile_says(host: Host) -> None:
    closed = name_of(host) == "deb13"
    with listening(host, 18080):
        assert is_reached(host, 18080) is not closed
    assert lets_in(host)


def test_rules_of_others_stay_and_ours_come_back_when_all_are_flushed(host: Host) -> None:
    host.check_output("nft add table inet others")
    host.check_output("systemctl restart quantum-firewall")
    assert "table inet others" in host.check_output("nft list tables")
    # Debian's service flushes everything before it loads its own.
    host.check_output("systemctl restart nftables")
    try:
        assert "table inet others" not in host.check_output("nft list tables")
        until("our table is back", lambda: host.run(TABLE).rc == 0)
    finally:
        host.check_output("nft delete table inet filter")


@pytest.fixture
def ansible_environment() -> dict[str, str]:
    library = ROOT / "roles" / "firewall" / "library"
    config = ROOT / "ansible.cfg"
    return {**os.environ, "ANSIBLE_CONFIG": str(config), "ANSIBLE_LIBRARY": str(library)}


def test_rules_that_lock_everybody_out_are_taken_back(
    host: Host, ansible_environment: dict[str, str]
) -> None:
    before = host.check_output(TABLE)
    arguments = {
        "state": "tried",
        "rules": LOCKED_OUT,
        "unit_text": "x",
        "file": "/etc/quantum-firewall.nft",
        "unit": "quantum-firewall.service",
        "hold_s": 8,
    }
    inventory = str(Path(__file__).parents[1] / "inventory" / "hosts.yml")
    command = ["ansible", name_of(host), "-i", inventory, "-m", "quantum_firewall"]
    trying = subprocess.Popen(
        [*command, "-a", json.dumps(arguments)],
        stdin=subprocess.DEVNULL,
        env=ansible_environment,
        cwd=ROOT,
    )
    try:
        until("nobody gets in", lambda: not lets_in(host), every_s=0)
        until("everybody gets in again", lambda: lets_in(host))
        assert host.check_output(TABLE) == before
        # Nothing of it is left for the next boot.
        assert host.run("ls /etc/quantum-firewall.nft.next").rc != 0
        assert (
            "ExecStart=" in host.file("/etc/systemd/system/quantum-firewall.service").content_string
        )
    finally:
        trying.wait(timeout=60)


def test_security_updates_come_by_themselves_where_they_are_wanted(host: Host) -> None:
    said = host.run("unattended-upgrade --dry-run --verbose")
    if name_of(host) != "deb12":
        assert said.rc == 127
        return
    origins = "origin=Debian,codename=bookworm-security,label=Debian-Security"
    told = f"{said.stdout}{said.stderr}"
    allowed = [line for line in told.splitlines() if "Allowed origins" in line]
    assert any(line.endswith(f": {origins}") for line in allowed), told
    assert host.service("apt-daily-upgrade.timer").is_enabled
    config = host.check_output("apt-config dump")
    assert 'Unattended-Upgrade::Automatic-Reboot "false";' in config
    assert 'APT::Periodic::Unattended-Upgrade "1";' in config
