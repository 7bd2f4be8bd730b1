"""Modes and owners of what lies on the host, and that it holds nothing it should not."""

from __future__ import annotations

import pytest
from testinfra.host import Host

SECRET = (
    "testnet",
    "signing",
    "redis",
    "exitbrain-v35",
    "apply-layer",
    "position-state-brain",
    "intent-executor",
    "operator",
    "proof",
    "exit-owner-watch",
    "policy-refresh",
    "alerts",
    "alerts-raise",
    "metrics",
    "paper-exchange",
)


@pytest.mark.parametrize("name", SECRET)
def test_env_file_is_for_root_alone(host: Host, name: str) -> None:
    found = host.file(f"/etc/quantum/{name}.env")
    assert (found.user, found.group, found.mode) == ("root", "root", 0o600)


def test_nothing_in_the_folder_of_secrets_is_open_or_left_over(host: Host) -> None:
    listing = host.check_output("find /etc/quantum -mindepth 1 -printf '%m %u:%g %f\\n'")
    expected = {f"600 root:root {name}.env" for name in SECRET} | {"600 root:root policy.yml"}
    assert set(listing.splitlines()) == expected


def test_kill_switch_file_is_preallocated_and_off(host: Host) -> None:
    found = host.file("/var/lib/quantum/kill_switch")
    assert (found.user, found.group, found.mode) == ("root", "root", 0o644)
    assert found.content_string.strip("\0\n ") == "off"
    assert host.check_output(f"stat -c %b {found.path}") != "0"


def test_operators_find_the_switch_on_a_line_of_its_own(host: Host) -> None:
    lines = host.file("/etc/quantum/exitbrain-v35.env").content_string.splitlines()
    assert lines.count("EXIT_EXECUTOR_KILL_SWITCH=false") == 1


def test_the_brains_log(host: Host) -> None:
    found = host.file("/var/log/quantum/exitbrain_v35.log")
    assert (found.user, found.mode) == ("quantum-exitbrain", 0o640)
    assert "LIVE MODE ACTIVE" in found.content_string


def test_the_signing_seed_is_the_brains_alone(host: Host) -> None:
    holders = host.run("grep -l '^QUANTUM_SIGNING_KEY=' /etc/quantum/*.env").stdout.split()
    assert holders == ["/etc/quantum/exitbrain-v35.env"]


def test_the_release_is_owned_by_root_and_not_writable(host: Host) -> None:
    assert host.file("/opt/quantum/current").is_symlink
    loose = host.check_output(
        "find /opt/quantum ! -type l \\( ! -user root -o -perm /022 \\) -print -quit"
    )
    assert loose == ""


def test_nothing_listens_beyond_the_host_but_sshd(host: Host) -> None:
    lines = host.check_output("ss --no-header --listening --tcp --udp --numeric --processes")
    beyond = [
        line
        for line in lines.splitlines()
        if not line.split()[4].startswith(("127.", "[::1]")) and '"sshd"' not in line
    ]
    assert beyond == []
