"""Files that only root may read, replaced atomically."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

PRIVATE = 0o600
_TEMPORARY = ".new-"


@contextlib.contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Hold the directory's lock: whoever replaces files in it does so one after another."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def is_private(path: Path) -> bool:
    status = path.stat()
    return stat.S_IMODE(status.st_mode) == PRIVATE and status.st_uid == status.st_gid == 0


def make_private(path: Path) -> None:
    os.chown(path, 0, 0)
    path.chmod(PRIVATE)


def replace_all(
    directory: Path, texts: Mapping[str, str], last_look: Callable[[], None] = lambda: None
) -> None:
    """Write every file beside its old one, then rename one after another.

    Whatever fails while writing (a full disk) leaves all old files as they were, and so does
    `last_look`, which is called in between and may raise. The new ones are made with their mode, so
    that at no moment anybody else can read them.
    """
    for leftover in directory.glob(f"{_TEMPORARY}*"):
        leftover.unlink()
    written: list[tuple[Path, Path]] = []
    try:
        for name, text in texts.items():
            temporary = directory / f"{_TEMPORARY}{name}"
            _write(temporary, text)
            written.append((temporary, directory / name))
        last_look()
    except BaseException:
        for temporary in directory.glob(f"{_TEMPORARY}*"):
            temporary.unlink()
        raise
    for temporary, final in written:
        os.replace(temporary, final)
    _sync(directory)


def _write(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, PRIVATE)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        os.fchown(file.fileno(), 0, 0)
        os.fchmod(file.fileno(), PRIVATE)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
