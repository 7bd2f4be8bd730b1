"""A service as a process of its own, started as often as a test likes and gone after it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

Start = Callable[..., subprocess.Popen[bytes]]


@contextmanager
def processes_of(module: str, environ: Mapping[str, str]) -> Iterator[Start]:
    """Starts `python -m module`; keyword arguments of each start change its environment."""
    started: list[subprocess.Popen[bytes]] = []

    def start(**changes: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            env={"PATH": os.environ["PATH"], **environ, **changes},
            stdout=subprocess.DEVNULL,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
