"""Files that only root may read: written whole, on disk before they count, replaced in one step."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from quantum_exit.rotation.errors import Locked, RotationError

PRIVATE: Final = 0o600
_LOCK_POLL_S: Final = 0.1
_TEMPORARY: Final = ".new-"
"""Before the name of a file that is being written; a deployment's have the same."""


@contextlib.contextmanager
def exclusive(directory: Path, timeout_s: float) -> Iterator[None]:
    """Hold the directory's lock, the same that a deployment holds while it writes here."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Locked(
                        f"{directory} is locked: another rotation or a deployment is at work; "
                        "wait for its end, then run this again"
                    ) from None
            time.sleep(_LOCK_POLL_S)
        yield
    finally:
        os.close(handle)


def read(path: Path) -> str | None:
    """The text; None if there is no file."""
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise RotationError(f"{path} is not valid UTF-8") from None


def make_directory(path: Path) -> None:
    path.mkdir(mode=0o700, exist_ok=True)
    path.chmod(0o700)


def write(path: Path, text: str, *, mode: int = PRIVATE, gid: int | None = None) -> None:
    """Replace the file in one step; nobody else can read it at any moment."""
    fresh = path.with_name(f"{_TEMPORARY}{path.name}")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, PRIVATE)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            # A folder may give its own group; who is no full root may not change even that.
            if gid is not None and os.fstat(file.fileno()).st_gid != gid:
                os.fchown(file.fileno(), -1, gid)
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sweep(directory: Path) -> None:
    """Take away what a write that was killed left behind, secrets in it. Hold the lock."""
    leftovers = list(directory.glob(f"{_TEMPORARY}*"))
    for leftover in leftovers:
        leftover.unlink()
    if leftovers:
        sync(directory)


def sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_tree(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)
        sync(path.parent)
