"""The host below the services: clock, disk, secrets, the kill file, the release that runs."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import redis

from quantum_exit.binance.client import Client
from quantum_exit.binance.errors import ReadFailed
from quantum_exit.proofs import checks, exchange, host, observe
from quantum_exit.proofs.model import Check, Expect, Outcome, Proof
from quantum_exit.proofs.observe import Beat
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
    current: Path = Path("/opt/quantum/current")


def run(bus: redis.Redis, environ: Mapping[str, str], expect: Expect) -> Proof:
    """Raises redis.RedisError when Redis is gone."""
    del expect
    began = time.time()
    paths = Paths()
    tests = (
        clock_check(exchange.make_client(environ)),
        disk_check(paths.data if paths.data.is_dir() else Path("/")),
        secrets_check(paths.secrets, owner_uid=0),
        kill_file_check(environ.get("QUANTUM_KILL_FILE", "").strip()),
        release_check(paths.current, observe.read_beats(bus, began)),
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
    return Check(key, name, checks.outcome(fine), (told,))


def disk_check(path: Path) -> Check:
    name, key = "There is room on the disk", "disk"
    try:
        room = os.statvfs(path)
    except OSError as error:
        return Check(key, name, Outcome.FAIL, (f"{path}: {error.strerror}",))
    free = room.f_bavail * room.f_frsize
    inodes = room.f_favail or room.f_files == 0
    told = f"{path}: {free // 2**20} MiB free of {room.f_blocks * room.f_frsize // 2**20}"
    fine = free >= DISK_FREE_AT_LEAST and bool(inodes)
    return Check(key, name, checks.outcome(fine), (told,))


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


def release_check(current: Path, beats: Mapping[str, Beat | Unknown]) -> Check:
    """Every service runs the release that is the current one."""
    name, key = "Every service runs the current release", "release"
    if not current.exists():
        return Check(key, name, Outcome.INFO, (f"no {current}: a host run by hand",))
    release = current.resolve()
    told, fine = [f"current: {release.name}"], True
    for service, beat in beats.items():
        if isinstance(beat, Unknown) or not host.process_alive(beat.pid):
            continue  # its own proof says that
        where = host.process_release(beat.pid, release.parent)
        if where is not None and where != release.name:
            told.append(f"{service} runs {where}: restart {host.UNITS[service]}")
            fine = False
    return Check(key, name, checks.outcome(fine), tuple(told))
