"""One sandbox host: unpacked, configured, booted, powered off, removed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sandbox_host import image, network, ssh
from sandbox_host.common import HOSTS, SandboxError, lock, replace_file, run, succeeds, tag
from sandbox_host.supervise import control_groups, members, remove_groups

BOOT_TIMEOUT_S = 90
POWEROFF_TIMEOUT_S = 20
PACKAGE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Host:
    """A host's names and places. ``name`` is what the inventory calls it."""

    checkout: Path
    name: str

    @property
    def key(self) -> str:
        return f"{tag(self.checkout)}-{self.name}"

    @property
    def directory(self) -> Path:
        return HOSTS / self.key

    @property
    def root(self) -> Path:
        return self.directory / "root"

    @property
    def console(self) -> Path:
        return self.directory / "console.log"

    @property
    def machine(self) -> str:
        return f"quantum-{self.key}"

    def record(self) -> dict[str, object]:
        """What was written when the host was made; empty if there is no (whole) record."""
        try:
            found = json.loads((self.directory / "host.json").read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def wire(self) -> network.Wire:
        return network.Wire(tag(self.checkout), int(str(self.record()["slot"])))


def up(host: Host, release: str) -> dict[str, object]:
    """Make and boot the host unless it runs; idempotent. Returns a report with ``changed``."""
    with lock(f"host-{host.key}"):
        found = host.record().get("release", release)
        if found != release:
            raise SandboxError(
                f"host {host.name} exists as {found}, not {release}; take it down first: "
                "./quantum down"
            )
        changed = image.ensure(release)
        if not _is_whole(host):
            with lock("network"):
                _remove(host)
                _record(host, release)
            _unpack(host, release)
            changed = True
        started = time.monotonic()
        with lock("network"):
            network.open_the_way_out()
        if not is_running(host):
            _end_processes(host)  # of a supervisor that was killed
            with lock("network"):
                network.connect(host.wire())
            _write_resolv_conf(host)
            _start(host)
            changed = True
        ssh.write_client_config(host.checkout)
        state = _wait_until_booted(host)
        _check_way_out(host)
    return {
        "changed": changed,
        "name": host.name,
        "release": release,
        "address": host.wire().address,
        "state": state,
        "boot_s": round(time.monotonic() - started, 1),
    }


def down(host: Host) -> bool:
    """Power off and remove the host and all traces; True if there was anything."""
    with lock(f"host-{host.key}"):
        existed = host.directory.exists() or _supervisor(host) is not None
        with lock("network"):
            _remove(host)
        existed |= clear_leftovers(host.checkout)
        if host.checkout.exists():
            ssh.write_client_config(host.checkout)
    return existed


def clear_leftovers(checkout: Path) -> bool:
    """Remove links without a host, and the way out if nobody is left; True if there were any."""
    with lock("network"):
        links = [link for link in network.leftover_links(tag(checkout))
                 if not _recorded(checkout, link)]  # fmt: skip
        for link in links:
            network.disconnect(network.Wire(tag(checkout), int(link.split("-")[2])))
        if network.nobody_left():
            network.close_the_way_out()
    return bool(links)


def of_checkout(checkout: Path) -> list[Host]:
    """All hosts of this checkout that left a directory or a process."""
    prefix = f"{tag(checkout)}-"
    places = HOSTS.iterdir() if HOSTS.exists() else iter(())
    names = {place.name.removeprefix(prefix) for place in places if place.name.startswith(prefix)}
    names |= {name for _, name, other in _supervisors() if other == checkout}
    return [Host(checkout, name) for name in sorted(names)]


def elsewhere(checkout: Path) -> list[Host]:
    """Hosts of other checkouts, by their records."""
    hosts = [Host(Path(str(record["checkout"])), str(record["name"])) for record in _all_records()]
    return [host for host in hosts if host.checkout != checkout]


def is_running(host: Host) -> bool:
    """True if the host's own supervisor lives and its link is there."""
    return _supervisor(host) is not None and network.is_connected(host.wire())


def _is_whole(host: Host) -> bool:
    return bool(host.record()) and host.root.is_dir()


def _record(host: Host, release: str) -> None:
    taken = {int(str(other["slot"])) for other in _all_records() if "slot" in other}
    host.directory.mkdir(mode=0o700, parents=True)
    record = {
        "name": host.name,
        "checkout": str(host.checkout),
        "release": release,
        "slot": network.free_slot(taken),
    }
    replace_file(host.directory / "host.json", json.dumps(record))


def _all_records() -> list[dict[str, object]]:
    records = []
    for path in HOSTS.glob("*/host.json"):
        try:
            records.append(json.loads(path.read_text()))
        except (OSError, ValueError):
            continue
    return records


def _recorded(checkout: Path, link: str) -> bool:
    return any(other.record() and other.wire().link == link for other in of_checkout(checkout))


def _unpack(host: Host, release: str) -> None:
    fresh = host.directory / "root.unfinished"
    fresh.mkdir(mode=0o755)
    run("tar", "-C", str(fresh), "--numeric-owner", "--xattrs", "--xattrs-include=*",
        "-xf", str(image.path_of(release)), timeout_s=300)  # fmt: skip
    wire = host.wire()
    replace_file(fresh / "etc/hostname", f"{host.name}\n")
    replace_file(
        fresh / "etc/hosts", f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {host.name}\n"
    )
    # Sorts before Debian's own 80-container-host0.network.
    replace_file(
        fresh / "etc/systemd/network/10-host0.network",
        "[Match]\nName=host0\n\n"
        "[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
        f"Address={wire.address}/24\nGateway={wire.gateway}\n",
    )
    ssh.install_keys(fresh, host.checkout, host.name)
    fresh.rename(host.root)  # from here on the host is whole


def _write_resolv_conf(host: Host) -> None:
    """Name servers of this machine that a host can reach: loopback ones it cannot."""
    servers: list[str] = []
    for source in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"):
        if not Path(source).exists():
            continue
        for line in Path(source).read_text().splitlines():
            words = line.split()
            # The hosts have no IPv6.
            if (
                words[:1] == ["nameserver"]
                and not words[1].startswith("127.")
                and ":" not in words[1]
            ):
                servers.append(words[1])
        if servers:
            break
    if not servers:
        raise SandboxError(
            "this machine's resolver listens on loopback alone; name a server that sandbox "
            "hosts can reach in /run/systemd/resolve/resolv.conf"
        )
    target = host.root / "etc/resolv.conf"
    target.unlink(missing_ok=True)
    replace_file(target, "".join(f"nameserver {server}\n" for server in servers[:3]))


def _start(host: Host) -> None:
    command = [
        sys.executable, "-m", "sandbox_host", "supervise", host.name,
        "--checkout", str(host.checkout),
    ]  # fmt: skip
    search = {"PYTHONPATH": str(PACKAGE.parent), "PATH": os.environ["PATH"]}
    if Path("/run/systemd/system").is_dir():
        succeeds("systemctl", "reset-failed", f"{host.machine}.service")
        run("systemd-run", f"--unit={host.machine}", "--quiet", "--collect",
            "--property=Delegate=yes", "--property=KillMode=mixed",
            f"--property=TimeoutStopSec={POWEROFF_TIMEOUT_S}",
            f"--property=StandardOutput=append:{host.console}",
            f"--property=StandardError=append:{host.console}",
            f"--setenv=PYTHONPATH={search['PYTHONPATH']}", *command)  # fmt: skip
        return
    with host.console.open("a") as console:
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            env=search,
            cwd="/",
            start_new_session=True,  # outlives the playbook that started it
        )


def _supervisors() -> list[tuple[int, str, Path]]:
    """Process id, host and checkout of each, by their command lines: no pid file can go stale."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if words[1:4] == ["-m", "sandbox_host", "supervise"] and words[5:6] == ["--checkout"]:
            found.append((int(entry.name), words[4], Path(words[6])))
    return found


def _supervisor(host: Host) -> int | None:
    for pid, name, checkout in _supervisors():
        if (name, checkout) == (host.name, host.checkout):
            return pid
    return None


def _wait_until_booted(host: Host) -> str:
    deadline = time.monotonic() + BOOT_TIMEOUT_S
    address = host.wire().address
    alive_by = time.monotonic() + 5
    while not _ssh_answers(address):
        if time.monotonic() > alive_by and _supervisor(host) is None:
            raise SandboxError(f"host {host.name} stopped while booting: {_console_tail(host)}")
        if time.monotonic() > deadline:
            raise SandboxError(
                f"host {host.name} has no sshd at {address} after {BOOT_TIMEOUT_S} s: "
                f"{_console_tail(host)}"
            )
        time.sleep(0.1)
    # "degraded" is a host, too; the caller sees it in the report.
    argv = [*ssh.command(host.checkout, host.name), "systemctl", "is-system-running", "--wait"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=BOOT_TIMEOUT_S, check=False)
    state = done.stdout.strip()
    if state not in {"running", "degraded"}:
        raise SandboxError(f"host {host.name} did not come up: {state or done.stderr.strip()}")
    return state


def _ssh_answers(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=1) as connection:
            connection.settimeout(5)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _check_way_out(host: Host) -> None:
    """The roles install packages: say now, not in their midst, if the mirror is out of reach."""
    target = urlsplit(image.proxy() or _package_source(host))
    port = target.port or (443 if target.scheme == "https" else 80)
    probe = f"exec 3<>/dev/tcp/{target.hostname}/{port}"
    argv = [*ssh.command(host.checkout, host.name), "timeout", "10", "bash", "-c", f"'{probe}'"]
    if not succeeds(*argv):
        raise SandboxError(
            f"host {host.name} runs but cannot reach {target.hostname}: does a firewall of this "
            f"machine drop what it forwards from {network.LINK_PREFIX}* links?"
        )


def _package_source(host: Host) -> str:
    """The first address its package manager would ask."""
    listed = (host.root / "etc/apt/sources.list").read_text()
    found = re.search(r"https?://\S+", listed)
    if found is None:
        raise SandboxError(f"host {host.name}: no mirror in its /etc/apt/sources.list")
    return found[0]


def _console_tail(host: Host) -> str:
    try:
        lines = host.console.read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return " / ".join(lines[-3:]) or f"nothing on its console ({host.console})"


def _end_processes(host: Host) -> None:
    """Power off in good order if that works in time; then nothing of the host runs any more."""
    supervisor = _supervisor(host)
    if supervisor is not None:
        os.kill(supervisor, signal.SIGTERM)
        _wait(lambda: _supervisor(host) is None, POWEROFF_TIMEOUT_S)
    if Path("/run/systemd/system").is_dir():
        succeeds("systemctl", "stop", f"{host.machine}.service")
        succeeds("systemctl", "reset-failed", f"{host.machine}.service")
        return
    groups = control_groups(host.machine)
    for pid in members(groups):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    if not _wait(lambda: not members(groups) and remove_groups(groups), 10):
        raise SandboxError(f"processes of host {host.name} do not end: {members(groups)}")


def _remove(host: Host) -> None:
    """Remove every trace of a host, whatever part of it there is."""
    _end_processes(host)
    if host.record():
        network.disconnect(host.wire())
    for place in ("propagate", "unix-export"):
        shutil.rmtree(f"/run/systemd/nspawn/{place}/{host.machine}", ignore_errors=True)
    mounts = Path("/proc/self/mounts").read_text()
    if f" {host.directory}/" in mounts:
        raise SandboxError(f"something is mounted below {host.directory}; unmount it first")
    if host.directory.exists():
        shutil.rmtree(host.directory)


def _wait(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
