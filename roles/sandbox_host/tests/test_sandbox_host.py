"""A sandbox host, made, hurt, mended and removed on this machine. Needs root and systemd-nspawn."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

FILES = Path(__file__).parents[1] / "files"
sys.path.insert(0, str(FILES))

from sandbox_host import machine, network  # noqa: E402 - the path is set just above
from sandbox_host.common import HOSTS  # noqa: E402

RELEASE = "trixie"
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


def tool(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sandbox_host", *words, "--checkout", str(checkout)],
        env={**os.environ, "PYTHONPATH": str(FILES)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def up(host: machine.Host) -> dict[str, object]:
    done = tool(host.checkout, "up", host.name, "--release", RELEASE)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert isinstance(report, dict)
    return report


def ssh(host: machine.Host, command: str) -> str:
    config = host.checkout / ".quantum" / "ssh_config"
    return subprocess.run(
        ["ssh", "-F", str(config), "-o", "BatchMode=yes", "-o", "ConnectTimeout=2",
         host.name, command],
        capture_output=True, text=True, timeout=30, check=False,
    ).stdout.strip()  # fmt: skip


def until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.1)


def processes(host: machine.Host) -> dict[str, int]:
    """Process ids: the supervisor's, and systemd-nspawn's below it."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if words[1:6] == ["-m", "sandbox_host", "supervise", host.name, "--checkout"]:
            if words[6] == str(host.checkout):
                found["supervisor"] = int(entry.name)
        elif words[0] == "systemd-nspawn" and f"--machine={host.machine}" in words:
            found["nspawn"] = int(entry.name)
    return found


@pytest.fixture
def host(tmp_path: Path) -> Iterator[machine.Host]:
    host = machine.Host(tmp_path, "probe")
    yield host
    assert tool(tmp_path, "down").returncode == 0


def test_up_again_changes_nothing_and_the_host_is_a_real_one(host: machine.Host) -> None:
    assert up(host)["changed"] is True
    assert up(host)["changed"] is False
    assert ssh(host, "ps -p 1 -o comm=; systemctl is-system-running; hostname") == (
        "systemd\nrunning\nprobe"
    )


def test_its_host_key_is_pinned(host: machine.Host) -> None:
    up(host)
    pinned = host.checkout / ".quantum" / "known_hosts.d" / "probe"
    words = pinned.read_text().split()
    key = words[2]
    words[2] = key[:40] + ("A" if key[40] != "A" else "B") + key[41:]
    pinned.write_text(" ".join(words) + "\n")
    assert ssh(host, "hostname") == ""


def test_what_is_written_survives_a_reboot(host: machine.Host) -> None:
    up(host)
    ssh(host, "touch /root/kept")
    started = ssh(host, "systemctl show -p UserspaceTimestampMonotonic --value")
    ssh(host, "systemctl reboot")
    until(lambda: ssh(host, "systemctl show -p UserspaceTimestampMonotonic --value")
          not in {"", started})  # fmt: skip
    assert ssh(host, "ls /root/kept") == "/root/kept"


@pytest.mark.parametrize("victim", ["supervisor", "nspawn"])
def test_up_mends_a_host_whose_process_was_killed(host: machine.Host, victim: str) -> None:
    up(host)
    ssh(host, "touch /root/kept && sync")
    os.kill(processes(host)[victim], signal.SIGKILL)
    until(lambda: victim not in processes(host))
    assert up(host)["changed"] is True
    assert ssh(host, "ls /root/kept") == "/root/kept"


def test_up_mends_a_half_unpacked_host(host: machine.Host) -> None:
    up(host)
    assert tool(host.checkout, "down", "probe").returncode == 0
    unfinished = host.directory / "root.unfinished"
    unfinished.mkdir(parents=True)
    (host.directory / "host.json").write_text('{"name": ')
    up(host)
    assert ssh(host, "hostname") == "probe"
    assert not unfinished.exists()


def test_up_takes_over_what_bears_its_names(host: machine.Host) -> None:
    up(host)
    wire = host.wire()
    assert tool(host.checkout, "down", "probe").returncode == 0
    for command in (f"netns add {wire.link}", f"link add {wire.link} type veth"):
        subprocess.run(["ip", *command.split()], check=True)
    up(host)
    assert ssh(host, "hostname") == "probe"


def test_two_hosts_have_services_of_their_own(host: machine.Host) -> None:
    other = machine.Host(host.checkout, "other")
    up(host)
    up(other)
    assert host.wire().address != other.wire().address
    ssh(host, "systemctl stop cron")
    assert ssh(other, "systemctl is-active cron") == "active"
    # In control groups of their own, too: stopping a unit ends nothing next door.
    assert ssh(other, "systemctl show cron -p NRestarts --value") == "0"


def test_down_leaves_nothing(host: machine.Host) -> None:
    others = HOSTS.exists() and any(HOSTS.iterdir())
    before = FORWARDING.read_text()
    up(host)
    wire = host.wire()
    assert tool(host.checkout, "down").returncode == 0
    assert processes(host) == {}
    assert not host.directory.exists()
    assert network.leftover_links(wire.tag) == []
    assert list(Path("/sys/fs/cgroup").glob(f"*/{host.machine}")) == []
    if not others:
        assert FORWARDING.read_text() == before
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True)
        assert network.TABLE not in tables.stdout


def test_down_finds_a_host_whose_folder_was_removed(host: machine.Host) -> None:
    up(host)
    subprocess.run(["rm", "-rf", "--one-file-system", str(host.directory)], check=True)
    assert tool(host.checkout, "down").returncode == 0
    assert processes(host) == {}
    assert network.leftover_links(machine.tag(host.checkout)) == []


def test_another_release_under_the_same_name_is_refused(host: machine.Host) -> None:
    up(host)
    done = tool(host.checkout, "up", host.name, "--release", "bookworm")
    assert done.returncode == 1
    assert "take it down first" in done.stderr


def test_without_root_it_names_the_other_way() -> None:
    with tempfile.TemporaryDirectory() as name:  # the checkout may lie where only root reads
        readable = Path(name)
        readable.chmod(0o755)
        shutil.copytree(FILES, readable / "files")
        done = _as_nobody(readable / "files")
    assert done.returncode == 1
    assert "root" in done.stderr
    assert "inventories/testnet" in done.stderr
    assert "Traceback" not in done.stderr


def _as_nobody(files: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["setpriv", "--reuid=65534", "--clear-groups", "/usr/bin/python3", "-m", "sandbox_host",
         "check", "--checkout", "/"],
        env={"PYTHONPATH": str(files), "PATH": os.environ["PATH"]},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
