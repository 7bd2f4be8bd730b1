"""Quantities as the exchange takes them, in exact decimals."""

from __future__ import annotations

import gzip
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from quantum_exit.binance import parse
from quantum_exit.binance.filters import (
    Denial,
    check_opening,
    floor_to_step,
    market_quantity_step,
    plain,
    reducing_quantity,
    trigger_price,
)
from quantum_exit.binance.model import SymbolRules

D = Decimal

BTC = SymbolRules(
    symbol="BTCUSDT",
    status="TRADING",
    price_tick=D("0.10"),
    qty_step=D("0.001"),
    min_qty=D("0.001"),
    max_qty=D("1000"),
    market_step=D("0.001"),
    market_min_qty=D("0.001"),
    market_max_qty=D("120"),
    min_notional=D("100"),
    price_up=D("1.05"),
    price_down=D("0.95"),
    qty_precision=3,
)
PRICE = D("60000")

steps = st.sampled_from([D(s) for s in ("0.001", "0.10", "1", "10", "0.05", "25", "0.00000001")])
quantities = st.decimals("0.00000001", "1000000", allow_nan=False, allow_infinity=False, places=8)
anything = st.decimals(allow_nan=True, allow_infinity=True)


@settings(deadline=None)  # a shared machine may be busy
@given(quantities, steps)
def test_floor_is_the_nearest_multiple_below(value: Decimal, step: Decimal) -> None:
    floored = floor_to_step(value, step)
    assert floored <= value < floored + step
    assert floored % step == 0


@settings(deadline=None)  # a shared machine may be busy
@given(quantities, steps, steps)
def test_a_reduction_is_never_larger_than_asked_and_always_sendable(
    asked: Decimal, step: Decimal, market_step: Decimal
) -> None:
    rules = replace(BTC, qty_step=step, market_step=market_step, min_notional=D("0"))
    result = reducing_quantity(asked, rules)
    if isinstance(result, Denial):
        assert result.code == "quantity_below_step"
        assert asked < max(market_quantity_step(rules), D("0.001")) or step > 120
        return
    assert 0 < result <= min(asked, rules.market_max_qty)
    assert result % max(step, market_step) == 0
    assume(market_step % step == 0 or step % market_step == 0)
    precise = replace(rules, qty_precision=8)
    assert check_opening(result, precise, PRICE) is None


@settings(deadline=None)  # a shared machine may be busy
@given(anything)
def test_no_quantity_breaks_it(quantity: Decimal) -> None:
    result = reducing_quantity(quantity, BTC)
    assert isinstance(result, Denial) or result.is_finite()
    denial = check_opening(quantity, BTC, PRICE)
    assert denial is None or denial.code
    price = trigger_price(quantity, BTC, below=True)
    assert isinstance(price, Denial) or price <= quantity


@pytest.mark.parametrize(
    ("asked", "sent"),
    [("0.0019", "0.001"), ("0.001", "0.001"), ("1.23456789", "1.234"), ("500", "120")],
)
def test_reductions(asked: str, sent: str) -> None:
    assert reducing_quantity(D(asked), BTC) == D(sent)


@pytest.mark.parametrize("asked", ["0.0009", "0", "-1", "NaN", "Infinity", "1e-30"])
def test_reductions_with_nothing_left(asked: str) -> None:
    result = reducing_quantity(D(asked), BTC)
    assert isinstance(result, Denial)
    assert result.code == "quantity_below_step"


def test_a_reduction_below_the_smallest_order() -> None:
    rules = replace(BTC, market_min_qty=D("0.01"))
    assert isinstance(reducing_quantity(D("0.009"), rules), Denial)


def test_a_reduction_knows_no_minimum_notional() -> None:
    assert reducing_quantity(D("0.001"), replace(BTC, min_notional=D("1e9"))) == D("0.001")


@pytest.mark.parametrize(
    ("quantity", "price", "code"),
    [
        ("0.0009", PRICE, "quantity_below_step"),
        ("0", PRICE, "quantity_below_step"),
        ("NaN", PRICE, "quantity_below_step"),
        ("120.001", PRICE, "limit_exceeded:max_qty"),
        ("1e300", PRICE, "limit_exceeded:max_qty"),
        ("0.0015", PRICE, "limit_exceeded:qty_step"),
        ("0.001", PRICE, "min_notional_check_failed:60 at the mark price is below 100"),
        ("0.002", None, "mark_price_unavailable"),
        ("0.002", D("0"), "mark_price_unavailable"),
        ("0.002", D("NaN"), "mark_price_unavailable"),
    ],
)
def test_openings_denied(quantity: str, price: Decimal | None, code: str) -> None:
    denial = check_opening(D(quantity), BTC, price)
    assert denial is not None
    assert denial.code == code
    assert denial.text


@pytest.mark.parametrize("quantity", ["0.002", "0.0020000", "120", "1E+1"])
def test_openings_that_pass(quantity: str) -> None:
    assert check_opening(D(quantity), BTC, PRICE) is None


def test_an_opening_needs_a_symbol_that_trades() -> None:
    denial = check_opening(D("1"), replace(BTC, status="SETTLING"), PRICE)
    assert denial is not None
    assert denial.code == "limit_exceeded:symbol_status"
    assert isinstance(reducing_quantity(D("1"), replace(BTC, status="SETTLING")), Decimal)


def test_a_minimum_notional_that_is_just_met() -> None:
    assert check_opening(D("0.002"), BTC, D("50000")) is None
    assert check_opening(D("0.002"), BTC, D("49999.9999999999")) is not None


@settings(deadline=None)  # a shared machine may be busy
@given(st.decimals(allow_nan=False, allow_infinity=False, places=10))
def test_plain_numbers(value: Decimal) -> None:
    written = plain(value)
    assert D(written) == value
    assert "E" not in written
    assert not written.endswith(".")
    assert written != "-0"


@pytest.mark.parametrize(
    ("value", "written"),
    [("1E+3", "1000"), ("0.0010", "0.001"), ("-0", "0"), ("0E-8", "0"), ("1E-8", "0.00000001")],
)
def test_plain_examples(value: str, written: str) -> None:
    assert plain(D(value)) == written


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "sNaN"])
def test_what_cannot_be_written(value: str) -> None:
    with pytest.raises(ValueError, match="finite"):
        plain(D(value))


def test_triggers_move_away_from_the_market() -> None:
    assert trigger_price(D("59999.99"), BTC, below=True) == D("59999.9")
    assert trigger_price(D("59999.91"), BTC, below=False) == D("60000.0")
    assert trigger_price(D("59999.9"), BTC, below=False) == D("59999.9")
    assert isinstance(trigger_price(D("0.05"), BTC, below=True), Denial)


@pytest.mark.data
def test_every_symbol_of_a_real_exchange(data_dir: Path) -> None:
    packed = data_dir / "exchangeInfo_um_testnet_2025-03-06_full.json.gz"
    for rules in parse.exchange_rules(gzip.decompress(packed.read_bytes())).values():
        largest = min(rules.max_qty, rules.market_max_qty)
        smallest = max(rules.min_qty, market_quantity_step(rules))
        for asked in (smallest, largest, largest / 3, largest / 7, largest * 5):
            quantity = reducing_quantity(asked, rules)
            assert isinstance(quantity, Decimal), (rules.symbol, asked)
            assert quantity <= asked
            if rules.trading:
                assert check_opening(quantity, rules, D("1e9")) is None
            assert "E" not in plain(quantity)
