"""Folders, users and bounds that every host has."""

from __future__ import annotations

import pytest
from testinfra.host import Host

SERVICE_USERS = ("quantum-exitbrain", "quantum-apply", "quantum-position", "quantum-executor")


@pytest.mark.parametrize(
    ("path", "mode"),
    [("/etc/quantum", 0o700), ("/var/lib/quantum", 0o755), ("/var/log/quantum", 0o755)],
)
def test_folder(host: Host, path: str, mode: int) -> None:
    folder = host.file(path)
    assert folder.is_directory
    assert (folder.user, folder.group, folder.mode) == ("root", "root", mode)


@pytest.mark.parametrize("name", SERVICE_USERS)
def test_service_user_cannot_log_in(host: Host, name: str) -> None:
    user = host.user(name)
    assert user.exists
    assert user.shell == "/usr/sbin/nologin"
    assert user.uid < 1000, "not a system user"
    assert user.password.startswith("!")


@pytest.mark.parametrize("name", SERVICE_USERS)
def test_service_user_cannot_read_secrets(host: Host, name: str) -> None:
    assert host.run("ls /etc/quantum").succeeded
    refused = host.run(f"runuser -u {name} -- ls /etc/quantum")
    assert "Permission denied" in refused.stderr


def test_journal_is_kept_and_bounded(host: Host) -> None:
    settings = host.check_output("systemd-analyze cat-config systemd/journald.conf")
    assert "SystemMaxUse=1024M" in settings
    assert host.file("/var/log/journal").is_directory


def test_log_is_rotated_and_keeps_owner_and_mode(host: Host) -> None:
    log = "/var/log/quantum/molecule.log"
    host.check_output(f"install -o quantum-exitbrain -m 0640 /etc/hostname {log}")
    try:
        host.check_output("logrotate --force /etc/logrotate.d/quantum")
        assert host.file(f"{log}.1").size > 0
        fresh = host.file(log)
        assert (fresh.size, fresh.user, fresh.mode) == (0, "quantum-exitbrain", 0o640)
    finally:
        host.check_output(f"rm -f {log} {log}.1")


def test_no_unit_failed(host: Host) -> None:
    assert host.check_output("systemctl --failed --no-legend --plain") == ""
