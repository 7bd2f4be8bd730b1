"""Which faults are run: in CI a part of the table, which changes with the day and the commit."""

from __future__ import annotations

import datetime
import os
import random
import subprocess

import stage
from faults import FAULTS, Fault

PART = 10


def seed() -> str:
    given = os.environ.get("QUANTUM_FAULTS_SEED")
    if given:
        return given
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    commit = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"],
        capture_output=True, text=True, cwd=stage.ROOT, check=False,
    )  # fmt: skip
    return f"{today}/{commit.stdout.strip()}"


SEED = seed()


def chosen() -> list[Fault]:
    named = os.environ.get("QUANTUM_FAULTS", "")
    if named:
        return [fault for fault in FAULTS if fault.name in named.split(",")]
    if os.environ.get("QUANTUM_TEST_ALL") == "true":
        return list(FAULTS)
    return random.Random(SEED).sample(FAULTS, PART)  # noqa: S311 - a choice, no secret


CHOSEN = chosen()
