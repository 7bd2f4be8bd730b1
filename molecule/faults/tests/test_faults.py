"""Each fault, on a real host: exactly its checks turn red, and green again once it is mended.

In CI a part of the table, which changes with the day and the commit; `./quantum test --all` runs
the whole. QUANTUM_FAULTS names faults to run (comma list), QUANTUM_FAULTS_SEED repeats a choice.
"""

from __future__ import annotations

import pytest
import stage
from choice import CHOSEN
from faults import Fault
from quantum_exit.proofs import catalogue


@pytest.fixture(scope="session", autouse=True)
def _one_real_order() -> None:
    """So that the order history is proven, and everything is green to begin with."""
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
        assert stage.red_at_last(fault.red) == fault.red, stage.evidence()
    finally:
        stage.mended(fault)
