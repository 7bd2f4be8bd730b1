"""Places, errors, commands and locks shared by the other modules."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOSTS = Path("/var/lib/quantum-sandbox")  # one directory a host; outside any checkout
IMAGES = Path("/var/cache/quantum-sandbox")  # base images, shared by all checkouts
RUN = Path("/run/quantum-sandbox")  # locks, and settings to be given back
RELEASES = ("bookworm", "trixie")

OTHER_WAY = "or deploy to a Debian 12/13 host of your own: see inventories/testnet/hosts.yml"
NEEDED = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "nft": "nftables",
    "ip": "iproute2",
    "ssh-keygen": "openssh-client",
    "ssh": "openssh-client",
    "tar": "tar",
    "setpriv": "util-linux",
}


class SandboxError(Exception):
    """What is wrong and how to mend it, in one line."""


def require_capable_machine() -> None:
    """Raise SandboxError unless sandbox hosts can be built here."""
    if platform.system() != "Linux":
        raise SandboxError(
            f"a sandbox host needs Linux with systemd-nspawn, this is {platform.system()}; "
            f"use a Linux machine, {OTHER_WAY}"
        )
    if os.geteuid() != 0:
        raise SandboxError(f"a sandbox host needs root; run it with sudo, {OTHER_WAY}")
    missing = sorted({package for tool, package in NEEDED.items() if not shutil.which(tool)})
    if missing:
        raise SandboxError(f"missing here: apt-get install {' '.join(missing)}, {OTHER_WAY}")


def run(*argv: str, stdin: str | None = None, timeout_s: float = 60) -> str:
    """Run a command, return its stdout; a failure becomes a SandboxError with its last lines."""
    try:
        done = subprocess.run(
            argv, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SandboxError(f"no answer within {timeout_s:.0f} s from: {' '.join(argv)}") from error
    if done.returncode != 0:
        said = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise SandboxError(f"{' '.join(argv)} failed ({done.returncode}): {said}")
    return done.stdout


def succeeds(*argv: str) -> bool:
    """True if the command ends with 0; its output does not matter."""
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold a lock of the whole machine, released by the kernel whatever happens."""
    RUN.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = RUN / f"{name}.lock"
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # The file may have been removed while we waited: then somebody else holds a new one.
        if path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino:
            break
        os.close(descriptor)
        RUN.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        yield
    finally:
        os.close(descriptor)


def tag(checkout: Path) -> str:
    """Four hex digits that keep the hosts of different checkouts apart."""
    return hashlib.sha256(str(checkout.resolve()).encode()).hexdigest()[:4]


def replace_file(path: Path, content: str, mode: int = 0o644) -> None:
    """Write a file so that no reader ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(content)
    os.chmod(fresh, mode)
    os.replace(fresh, path)
