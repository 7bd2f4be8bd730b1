"""Keys of another account are refused; accounts without a name are not taken for the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantum_exit.rotation.errors import RotationError
from quantum_exit.rotation.exchange_keys import Pair, Standing
from quantum_exit.rotation.journal import Kind
from quantum_exit.rotation.kinds import Keys
from quantum_exit.rotation.run import Request, Rotation
from quantum_exit.rotation.transaction import Report

OLD, NEW, READ = Pair("old", "s"), Pair("new", "s"), Pair("read", "s")


class Told(Rotation):
    """An exchange that names these accounts, by key."""

    def __init__(self, directory: Path, accounts: dict[str, str]) -> None:
        self.report = Report()
        super().__init__(Request(Kind.EXCHANGE, "testnet", directory=directory), self.report)
        self._accounts_by_key = accounts

    def _ask(self, pair: Pair, name: str) -> Standing:
        assert name  # what a refusal would be told by
        return Standing(self._accounts_by_key[pair.key], True, True)

    def prove(self) -> str:
        """What was said. Raises RotationError."""
        account = self._prove_keys(Keys(NEW, READ))
        self._prove_same_account(Keys(NEW, READ), Keys(OLD, OLD), account)
        return "\n".join(self.report.lines)


def test_the_same_account_needs_no_word(tmp_path: Path) -> None:
    assert "not checked" not in Told(tmp_path, {"old": "a", "new": "a", "read": "a"}).prove()


@pytest.mark.parametrize("other", ["old", "read"])
def test_another_account_is_refused(tmp_path: Path, other: str) -> None:
    with pytest.raises(RotationError, match="another account"):
        Told(tmp_path, {"old": "a", "new": "a", "read": "a", other: "b"}).prove()


def test_accounts_without_a_name_are_not_known_to_be_the_same(tmp_path: Path) -> None:
    told = Told(tmp_path, dict.fromkeys(("old", "new", "read"), "")).prove()
    assert told.count("not checked: whether") == 2
    with pytest.raises(RotationError, match="another account"):
        Told(tmp_path, {"old": "a", "new": "", "read": ""}).prove()
