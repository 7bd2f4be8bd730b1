"""Keys and client configuration: every host is known by a host key we made ourselves."""

from __future__ import annotations

from pathlib import Path

from sandbox_host import machine, network
from sandbox_host.common import lock, replace_file, run, tag

FOLDER = ".quantum"


def folder(checkout: Path) -> Path:
    """The checkout's folder for the sandbox's keys and configuration; not under version control."""
    place = checkout / FOLDER
    place.mkdir(mode=0o700, exist_ok=True)
    return place


def install_keys(root: Path, checkout: Path, name: str) -> None:
    """Give an unpacked host its host key, pin it, and let this checkout's key in."""
    place = folder(checkout)
    with lock(f"ssh-{tag(checkout)}"):
        identity = place / "id_ed25519"
        if not identity.exists() or not identity.with_suffix(".pub").exists():
            identity.unlink(missing_ok=True)
            _keygen(identity, "quantum-sandbox")
    host_key = root / "etc/ssh/ssh_host_ed25519_key"
    host_key.unlink(missing_ok=True)
    _keygen(host_key, name)
    algorithm, key, *_ = host_key.with_suffix(".pub").read_text().split()
    replace_file(place / "known_hosts.d" / name, f"{name} {algorithm} {key}\n")
    authorized = root / "root/.ssh/authorized_keys"
    authorized.parent.mkdir(mode=0o700, exist_ok=True)
    replace_file(authorized, identity.with_suffix(".pub").read_text(), 0o600)


def _keygen(path: Path, comment: str) -> None:
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path))


def write_client_config(checkout: Path) -> None:
    """Write the ssh configuration that knows all hosts of this checkout, and forget the others."""
    place = folder(checkout)
    with lock(f"ssh-{tag(checkout)}"):
        hosts = [host for host in machine.of_checkout(checkout) if host.record()]
        for pinned in (place / "known_hosts.d").glob("*"):
            if pinned.name not in {host.name for host in hosts}:
                pinned.unlink()
        blocks = [_block(place, host.name, host.wire()) for host in hosts]
        replace_file(place / "ssh_config", "\n".join(blocks) or "# no sandbox host\n", 0o600)


def _block(place: Path, name: str, wire: network.Wire) -> str:
    return f"""\
Host {name}
  HostName {wire.address}
  HostKeyAlias {name}
  User root
  IdentityFile "{place}/id_ed25519"
  IdentitiesOnly yes
  UserKnownHostsFile "{place}/known_hosts.d/{name}"
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  HostKeyAlgorithms ssh-ed25519
  PasswordAuthentication no
  ServerAliveInterval 5
"""


def command(checkout: Path, name: str) -> list[str]:
    """The beginning of a command line that reaches the host without asking anything."""
    return ["ssh", "-F", str(folder(checkout) / "ssh_config"), "-o", "BatchMode=yes",
            "-o", "ConnectTimeout=10", name]  # fmt: skip
