"""A permit in each of its forms, and what counts as none."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_exit.gates.model import Denial, Order
from quantum_exit.gates.permit import MISSING, Permit, parse_permit, permit

from .cases import NOW, bridged, signed

EXIT = Order(Decimal(1), reduces=True, by_owner=True)
ENTRY = Order(Decimal(1), reduces=False, by_owner=False)
ALLOWED = {"allow": True, "symbol": "BTCUSDT", "safe_qty": 0.4, "created_at": NOW - 1}


def answer(order: Order = EXIT, **changes: object) -> Order | Denial:
    claim = signed() if order.by_owner else bridged()
    document = {k: v for k, v in {**ALLOWED, **changes}.items() if v is not None}
    return permit(claim, order, parse_permit(json.dumps(document)), NOW)


def test_it_may_be_a_json_string_or_a_hash() -> None:
    for text in (json.dumps(ALLOWED), json.dumps(ALLOWED).encode()):
        found = parse_permit(text)
        assert isinstance(found, Permit)
        assert (found.allow, found.safe_qty) == (True, Decimal("0.4"))
    strings = {"allow": "true", "symbol": "BTCUSDT", "safe_qty": "0.4", "created_at": str(NOW)}
    found = parse_permit(strings)
    assert isinstance(found, Permit)
    assert permit(signed(), EXIT, found, NOW) == Order(Decimal("0.4"), True, True)


@pytest.mark.parametrize("word", ["true", "True", "TRUE", "1", True, 1])
def test_the_words_for_allowed(word: object) -> None:
    assert isinstance(answer(allow=word), Order)


@pytest.mark.parametrize("word", ["false", "", "yes", "2", False, 0, 2, [], {}, "1.0"])
def test_everything_else_is_a_refusal(word: object) -> None:
    denial = answer(allow=word, reason="cooldown")
    assert isinstance(denial, Denial)
    assert denial.error == "p33_permit_denied:cooldown"


def test_the_smaller_quantity_counts() -> None:
    assert answer(safe_qty=0.4) == Order(Decimal("0.4"), True, True)
    assert answer(safe_qty="5") == EXIT
    assert answer(ENTRY, safe_qty="0.25") == Order(Decimal("0.25"), False, False)


def test_a_safe_quantity_of_zero_opens_as_asked_and_reduces_nothing() -> None:
    assert answer(ENTRY, safe_qty=0) == ENTRY
    denial = answer(safe_qty=0)
    assert isinstance(denial, Denial)
    assert denial.error == "quantity_below_step"


@pytest.mark.parametrize(
    "changes",
    [
        {"symbol": "ETHUSDT"},
        {"source": "intent_bridge"},
        {"created_at": NOW - 61},
        {"safe_qty": None},
        {"safe_qty": -1},
        {"safe_qty": "lots"},
        {"safe_qty": True},
        {"safe_qty": float("nan")},
        {"safe_qty": float("inf")},
        {"allow": None},
    ],
)
def test_what_is_no_permit_for_this_plan(changes: dict[str, object]) -> None:
    assert answer(**changes) == MISSING
    assert MISSING.error == "p33_permit_missing_or_denied"


def test_a_symbol_a_source_and_a_time_need_not_be_named() -> None:
    assert isinstance(answer(symbol=None, created_at=None), Order)
    assert isinstance(answer(source="exitbrain_v3_5"), Order)


@pytest.mark.parametrize(
    "value",
    [
        *("", "x", "[]", "null", "1", "{}", b"\xff", "[" * 100_000, {}),
        *('{"allow":true,"safe_qty":' + number + "}" for number in ("9" * 5000, "1e" + "9" * 30)),
    ],
)
def test_noise_is_no_permit(value: bytes | str | dict[str, object]) -> None:
    assert permit(signed(), EXIT, parse_permit(value), NOW) == MISSING


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)
_names = st.sampled_from(["allow", "symbol", "safe_qty", "reason", "created_at", "source"])


@given(st.dictionaries(_names, _json))
def test_no_content_raises_or_gives_more_than_was_asked(document: dict[str, object]) -> None:
    outcome = permit(signed(), EXIT, parse_permit(json.dumps(document)), NOW)
    if isinstance(outcome, Order):
        assert 0 < outcome.qty <= EXIT.qty
        assert outcome.reduces


@given(st.one_of(st.binary(), st.text()))
def test_any_bytes_are_a_permit_or_none(value: bytes | str) -> None:
    permit(signed(), EXIT, parse_permit(value), NOW)
