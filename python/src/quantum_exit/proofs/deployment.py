"""The host below the services: Redis, clock, disk, secrets, the kill file, what was deployed."""

from __future__ import annotations

import math
import os
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import redis

from quantum_exit.binance.client import Client
from quantum_exit.binance.errors import ReadFailed
from quantum_exit.proofs import checks, deployed, exchange, observe, redis_state, sandbox
from quantum_exit.proofs.model import Check, Expect, Figure, Outcome, Proof
from quantum_exit.values import Unknown

TITLE: Final = "HOST PROOF"
CLOCK_AT_MOST_MS: Final = 1000
DISK_FREE_AT_LEAST: Final = 200 * 1024 * 1024
"""Bytes. Redis writes every change to disk."""


@dataclass(frozen=True, slots=True)
class Paths:
    """Where a deployed host keeps what is looked at."""

    secrets: Path = Path("/etc/quantum")
    data: Path = Path("/var/lib/quantum")
    redis: Path = Path("/var/lib/redis")
    logs: Path = Path("/var/log/quantum")
    current: Path = Path("/opt/quantum/current")
    units: Path = Path("/etc/systemd/system")

    @property
    def with_room(self) -> tuple[Path, ...]:
        """Folders that are written to; of a host run by hand only the root is known."""
        return (self.data, self.redis, self.logs) if self.data.is_dir() else (Path("/"),)


def run(bus: redis.Redis, environ: Mapping[str, str], expect: Expect) -> Proof:
    """Raises redis.RedisError when Redis is gone."""
    del expect
    began = time.time()
    paths = Paths()
    tests = (
        redis_state.persistence_check(bus),
        redis_state.memory_check(bus),
        redis_state.access_check(environ["REDIS_URL"]),
        clock_check(exchange.make_client(environ)),
        disk_check(paths.with_room),
        secrets_check(paths.secrets, owner_uid=0),
        kill_file_check(environ.get("QUANTUM_KILL_FILE", "").strip()),
        deployed.release_check(paths.current, observe.read_beats(bus, began)),
        deployed.files_check(paths.current),
        deployed.config_check(paths.secrets, paths.units),
        sandbox.sandbox_check(),
    )
    return Proof("host", TITLE, began, tests)


def clock_check(client: Client | Unknown) -> Check:
    """This host's clock against the exchange's; ages and signatures depend on it."""
    name, key = f"The clock is within {CLOCK_AT_MOST_MS} ms of the exchange's", "clock"
    if isinstance(client, Unknown):
        return Check(key, name, Outcome.FAIL, (client.why,))
    try:
        client.sync_clock()
    except ReadFailed as error:
        return Check(key, name, Outcome.FAIL, (str(error),))
    least, most = client.clock.offset_ms(time.time() * 1000, time.monotonic())
    told = f"the exchange is ahead by {least} to {most} ms"
    # Proven wrong, not merely possible: a slow answer widens the bounds on both sides.
    fine = least <= CLOCK_AT_MOST_MS and most >= -CLOCK_AT_MOST_MS
    offset_ms = (least + most) / 2
    figure = Figure("clock_offset", abs(offset_ms) / 1000, "s", most=CLOCK_AT_MOST_MS / 1000)
    return Check(key, name, checks.outcome(fine), (told,), figures=(figure,))


def disk_check(paths: Sequence[Path]) -> Check:
    """`paths`: folders that must be there and have room."""
    name, key = "There is room on the disk", "disk"
    told, fine, least_free = [], True, math.inf
    for path in paths:
        try:
            room = os.statvfs(path)
        except OSError as error:
            return Check(key, name, Outcome.FAIL, (f"{path}: {error.strerror}",))
        free = room.f_bavail * room.f_frsize
        inodes = room.f_favail or room.f_files == 0
        told.append(f"{path}: {free // 2**20} MiB free of {room.f_blocks * room.f_frsize // 2**20}")
        fine = fine and free >= DISK_FREE_AT_LEAST and bool(inodes)
        least_free = min(least_free, free)
    figure = Figure("disk_free", least_free, "B", least=DISK_FREE_AT_LEAST)
    return Check(key, name, checks.outcome(fine), tuple(told), figures=(figure,))


def secrets_check(folder: Path, owner_uid: int) -> Check:
    """Nobody but root reads a secret: 0700 on the folder, 0600 on every file in it."""
    name, key = "Secrets are root's alone", "secrets"
    if not folder.is_dir():
        return Check(key, name, Outcome.INFO, (f"no {folder}: a host run by hand",))
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        return Check(key, name, Outcome.FAIL, (f"{folder}: {error.strerror}",), critical=True)
    wrong = [text for path in (folder, *entries) if (text := _too_open(path, owner_uid))]
    told = tuple(wrong) or (f"{folder} and {len(entries)} file(s) in it",)
    return Check(key, name, checks.outcome(not wrong), told, critical=True)


def _too_open(path: Path, owner_uid: int) -> str:
    """What is wrong with its mode or owner; empty when nothing is."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return ""  # replaced while we looked
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid != owner_uid:
        return f"{path} belongs to uid {found.st_uid}"
    return f"{path} has mode {mode:04o}" if mode & 0o077 else ""


def kill_file_check(path: str) -> Check:
    """Readable by every service, writable by root alone, and in form."""
    name, key = "The kill file is in form", "kill_file"
    if not path:
        return Check(key, name, Outcome.INFO, ("QUANTUM_KILL_FILE is not set",))
    try:
        found = os.lstat(path)
        word = Path(path).read_bytes().strip(b" \n\0")
    except OSError as error:
        return Check(key, name, Outcome.FAIL, (f"{path}: {error.strerror}",), critical=True)
    mode = stat.S_IMODE(found.st_mode)
    fine = stat.S_ISREG(found.st_mode) and mode == 0o644 and word in (b"on", b"off")
    told = f"{path}: mode {mode:04o}, {word[:16].decode(errors='replace')!r}"
    return Check(key, name, checks.outcome(fine), (told,), critical=True)
