"""Each fault, on a real host: exactly its checks turn red, and green again once it is mended.

In CI a part of the table, which changes with the day and the commit; `./quantum test --all` runs
the whole. QUANTUM_FAULTS names faults to run (comma list), QUANTUM_FAULTS_SEED repeats a choice.
"""

from __future__ import annotations

import datetime
import os
import random
import subprocess

import pytest
import stage
from faults import FAULTS, Fault
from quantum_exit.proofs import catalogue

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


@pytest.fixture(scope="session", autouse=True)
def _one_real_order() -> None:
    """So that the order history is proven, and everything is green to begin with."""
    print(f"\n{len(CHOSEN)} of {len(FAULTS)} faults, QUANTUM_FAULTS_SEED={SEED}")
    stage.until("the host is fit", stage.is_fit)
    stage.run("/opt/quantum/current/bin/launch quantum_exit.demo")
    stage.until("the host is fit", stage.is_fit)


def test_a_well_host_is_green_and_every_check_is_in_the_catalogue() -> None:
    stage.until("everything is green", lambda: not stage.red(), 30)
    assert set(stage.prove()) == catalogue.checks()


@pytest.mark.parametrize("fault", CHOSEN, ids=lambda fault: fault.name)
def test_exactly_its_checks_turn_red(fault: Fault) -> None:
    try:
        stage.act(fault.apply)
        assert stage.red() == fault.red, stage.evidence()
    finally:
        stage.mended(fault)
