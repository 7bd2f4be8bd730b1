"""Writing the place of the kill switch that needs neither Redis nor free disk."""

from __future__ import annotations

import os
from typing import Final

_MIN_BYTES: Final = 4  # "off\n" and "on \n" are equally long
_MAX_BYTES: Final = 64  # readers look no further


def write(path: str, *, active: bool) -> None:
    """Overwrite the file in place, on disk when this returns. Raises OSError.

    In place, so that no block has to be allocated on a full disk; nothing is cut off before
    it is written, so that a reader at any moment sees the old word, the new word, or
    something that is neither and counts as on. A missing file is created.
    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        os.fchmod(fd, 0o644)  # the services read it, whatever the umask of this shell
    try:
        size = os.fstat(fd).st_size
        length = min(max(size, _MIN_BYTES), _MAX_BYTES)
        word = b"on" if active else b"off"
        if os.pwrite(fd, word.ljust(length - 1) + b"\n", 0) != length:
            raise OSError(f"{path} could not be written completely")
        if size > length:
            os.ftruncate(fd, length)
        os.fsync(fd)
    finally:
        os.close(fd)
