"""A control group for the measured process, where this machine lets us make one."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_PLACES = (
    (Path("/sys/fs/cgroup/memory"), "memory.usage_in_bytes"),  # version 1
    (Path("/sys/fs/cgroup"), "memory.current"),  # version 2
)


class Cgroup:
    """Empty `usage_mib` where none could be made (no right to, or no memory controller)."""

    def __init__(self) -> None:
        self._path: Path | None = None
        for root, usage in _PLACES:
            path = root / f"executor-benchmark-{os.getpid()}"
            with suppress(OSError):
                path.mkdir()
                if (path / usage).exists():
                    self._path, self._usage = path, path / usage
                    return
                path.rmdir()

    def take_in(self, pid: int) -> None:
        if self._path is not None:
            (self._path / "cgroup.procs").write_text(str(pid))

    def usage_mib(self) -> float | None:
        """All that is charged to it; None without a group."""
        if self._path is None:
            return None
        return int(self._usage.read_text()) / 1024 / 1024

    def remove(self) -> None:
        if self._path is not None:
            with suppress(OSError):
                self._path.rmdir()
