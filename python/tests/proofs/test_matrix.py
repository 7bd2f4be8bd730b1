"""The table of faults: every check is turned red by one, and the page tells what it says."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import pytest

from quantum_exit.proofs import catalogue

from ..conftest import REPOSITORY

TABLE = REPOSITORY / "molecule" / "faults" / "tests"


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TABLE))
    for name in ("faults", "matrix"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("faults")


def test_every_check_is_turned_red_by_a_fault(table: ModuleType) -> None:
    named = {name for fault in table.FAULTS for name in fault.red}
    assert catalogue.checks() - named == set()


def test_the_table_names_no_check_that_is_not(table: ModuleType) -> None:
    named = {name for fault in table.FAULTS for name in fault.red}
    assert named - catalogue.checks() == set(catalogue.CATALOGUE)


def test_faults_have_names_of_their_own_and_turn_something_red(table: ModuleType) -> None:
    names = [fault.name for fault in table.FAULTS]
    assert len(names) == len(set(names))
    assert all(fault.red for fault in table.FAULTS)


def test_the_page_is_up_to_date(table: ModuleType) -> None:
    matrix = importlib.import_module("matrix")
    assert matrix.PAGE.read_text(encoding="utf-8") == matrix.page(), (
        "write it anew: .venv/bin/python molecule/faults/tests/matrix.py"
    )
