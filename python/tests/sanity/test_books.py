"""Exchange and books agree, or differ; our own fills never make them differ."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_exit.sanity.books import (
    Agreed,
    Ledger,
    Mismatch,
    MismatchKind,
    NoLedger,
    comparable,
    compare,
)
from quantum_exit.values import Unknown

D = Decimal
amounts = st.decimals(-1000, 1000, places=3)


def at(amount: str | Decimal) -> Ledger:
    return Ledger(D(amount), 0.0)


@pytest.mark.parametrize(
    ("exchange", "ledger", "baseline", "expected"),
    [
        ("3", NoLedger(), "0", Agreed(D(3))),
        ("0", NoLedger(), "3", Agreed(D(0))),
        ("3", at("3"), "0", Agreed(D(0))),
        ("3", at("3"), "7", Agreed(D(0))),
        ("2", at("-1"), "3", Agreed(D(3))),
        ("5", at("-3"), "3", Agreed(D(8))),
        ("5", at("0"), "0", Agreed(D(5))),
        ("3", at("5"), "0", Mismatch(MismatchKind.QTY, D(3), D(5))),
        ("0", at("5"), "0", Mismatch(MismatchKind.QTY, D(0), D(5))),
        ("-3", at("5"), "0", Mismatch(MismatchKind.SIDE, D(-3), D(5))),
        ("3", at("-5"), "0", Mismatch(MismatchKind.SIDE, D(3), D(-5))),
        ("3", Unknown("x"), "0", Mismatch(MismatchKind.QTY, D(3), None)),
    ],
)
def test_compare(exchange: str, ledger: Ledger, baseline: str, expected: Agreed | Mismatch) -> None:
    assert compare(D(exchange), ledger, D(baseline)) == expected


@given(amounts, st.lists(amounts, max_size=10))
def test_our_own_fills_never_make_a_mismatch(start: Decimal, fills: list[Decimal]) -> None:
    exchange, ledger, baseline = start, D(0), compare(start, NoLedger(), D(0))
    for fill in fills:
        exchange += fill
        ledger += fill
        assert isinstance(baseline, Agreed)
        baseline = compare(exchange, Ledger(ledger, 0.0), baseline.baseline)
    assert isinstance(baseline, Agreed)


@given(amounts, amounts, amounts)
def test_what_is_agreed_on_explains_the_exchange(
    exchange: Decimal, ledger: Decimal, baseline: Decimal
) -> None:
    result = compare(exchange, at(ledger), baseline)
    if isinstance(result, Agreed):
        assert exchange == ledger + result.baseline
    else:
        assert ledger + baseline not in (0, exchange)


@pytest.mark.parametrize("change", ["0.001", "-0.001", "5", "-5"])
def test_a_change_by_others_in_a_position_of_ours_is_a_mismatch(change: str) -> None:
    assert isinstance(compare(D(3) + D(change), at("3"), D(0)), Mismatch)


def test_only_amounts_of_the_same_moment_are_compared() -> None:
    ledger = Ledger(D(1), 100.0)
    assert comparable(ledger, order_in_flight=False, observed_epoch=100.0)
    assert not comparable(ledger, order_in_flight=False, observed_epoch=99.9)
    assert not comparable(ledger, order_in_flight=True, observed_epoch=200.0)
    assert comparable(NoLedger(), order_in_flight=False, observed_epoch=0.0)
    # dated by a clock that was set back since
    assert comparable(ledger, order_in_flight=False, observed_epoch=50.0)
