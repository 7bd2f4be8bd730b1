"""One deployment at a time puts releases in place, points at them or removes them."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

NAME = ".lock"


@contextlib.contextmanager
def exclusive(releases: Path) -> Iterator[None]:
    """Hold the lock of `releases`, which is made if it is missing.

    Not that of the folder itself: whoever may open a thing may lock it, and keep it locked. Anybody
    may open the folder, only root this file.
    """
    releases.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(releases / NAME, flags, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
