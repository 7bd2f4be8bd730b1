"""Says which part of the table is run, so that it can be run again."""

from __future__ import annotations

from choice import CHOSEN, SEED
from faults import FAULTS


def pytest_report_header() -> str:
    return f"{len(CHOSEN)} of {len(FAULTS)} faults, QUANTUM_FAULTS_SEED={SEED}"
