"""Leadership: one executor of a Redis works, others stand by.

The lock is one the kernel releases with the process, however it dies. It is never removed:
a removed file would let two processes lock two files of one name.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

POLL_S: Final = 0.2


class Leadership:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def acquire(self, stop: threading.Event) -> bool:
        """Blocks until we lead; False when `stop` came first. Raises OSError when the lock
        file cannot be opened."""
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        waiting = False
        while not self._try():
            if not waiting:
                log.info("standing by: another executor leads")
                waiting = True
            if stop.wait(POLL_S):
                os.close(self._fd)
                return False
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        return True

    def _try(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
