"""The base image: a tar of a bare Debian, built once per release and recipe."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from sandbox_host.common import IMAGES, RELEASES, SandboxError, lock

PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "python3",
    "python3-venv",
    "python3-apt",
    "openssh-server",
    "iproute2",
    "ca-certificates",
)
# Downloaded, not installed: a fresh server does not have them either, but the roles that
# install them need not fetch them again for every sandbox host.
FETCHED = ("redis-server", "redis-tools", "nftables", "logrotate", "unattended-upgrades")
HOOK = Path(__file__).with_name("image_hook.sh")
BUILD_TIMEOUT_S = 900


def mirror() -> str | None:
    """Another Debian mirror than the usual one, from the environment."""
    return os.environ.get("QUANTUM_DEBIAN_MIRROR") or None


def proxy() -> str | None:
    """The proxy that apt uses here, if hosts can use it too (one on loopback they cannot)."""
    done = subprocess.run(
        ["apt-config", "shell", "found", "Acquire::http::Proxy"],
        capture_output=True,
        text=True,
        check=False,
    )
    configured = done.stdout.strip().removeprefix("found=").strip("'")
    address = configured or os.environ.get("http_proxy", "")
    host = urlsplit(address).hostname or ""
    return None if not host or host == "localhost" or host.startswith("127.") else address


def path_of(release: str) -> Path:
    """Where the image of this release lies; the name changes with the recipe."""
    if release not in RELEASES:
        raise SandboxError(f"unknown Debian release {release!r}; known: {', '.join(RELEASES)}")
    recipe = "\n".join([*PACKAGES, *FETCHED, mirror() or "", proxy() or "", HOOK.read_text()])
    return IMAGES / f"{release}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}.tar"


def ensure(release: str) -> bool:
    """Build the image unless it is there; True if it was built. Takes about 40 s."""
    image = path_of(release)
    with lock(f"image-{release}"):
        if image.exists():
            return False
        IMAGES.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in IMAGES.glob(f"{release}-*"):  # half-built, or of an older recipe
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        _build(release, image)
    return True


def _build(release: str, image: Path) -> None:
    scratch = IMAGES / f"{release}-build"  # mmdebstrap's own left-overs are ours to remove
    scratch.mkdir()
    unfinished = image.with_suffix(".unfinished.tar")
    log = IMAGES / f"{release}.log"
    command = [
        "mmdebstrap",
        "--variant=important",
        f"--include={','.join(PACKAGES)}",
        # The package lists and the fetched packages stay in the image.
        "--skip=cleanup/apt",
        f'--customize-hook=sh {HOOK} "$1" {" ".join(FETCHED)}',
        *([f'--aptopt=Acquire::http::Proxy "{address}"'] if (address := proxy()) else []),
        release,
        str(unfinished),
        *([source] if (source := mirror()) else []),
    ]
    with log.open("w") as stream:
        try:
            code = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TMPDIR": str(scratch)},
                timeout=BUILD_TIMEOUT_S,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired as error:
            raise SandboxError(
                f"building the {release} image took over {BUILD_TIMEOUT_S} s; see {log}"
            ) from error
    shutil.rmtree(scratch, ignore_errors=True)
    if code != 0:
        unfinished.unlink(missing_ok=True)
        errors = [line for line in log.read_text().splitlines() if line.startswith(("E:", "W:"))]
        raise SandboxError(
            f"mmdebstrap could not build {release}: {' / '.join(errors[:2]) or 'no reason given'}; "
            f"is the Debian mirror reachable (QUANTUM_DEBIAN_MIRROR)? Full log: {log}"
        )
    os.replace(unfinished, image)
