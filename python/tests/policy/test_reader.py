"""A reader of the policy tells valid, stale, missing and malformed apart."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_exit.policy.reader import (
    PolicyView,
    StalePolicy,
    ValidPolicy,
    parse_policy,
    read_policy,
)
from quantum_exit.values import Unknown

NOW = 1_700_000_000.0


def published(**changes: str) -> dict[str, str]:
    fields = {
        "universe_symbols": json.dumps(["BTCUSDT", "ETHUSDT"]),
        "leverage_by_symbol": json.dumps({"BTCUSDT": 5, "ETHUSDT": 3}),
        "harvest_params": "{}",
        "kill_params": "{}",
        "valid_until_epoch": str(NOW + 60),
        "policy_version": "7",
        "policy_hash": "ab",
    }
    return fields | changes


def test_a_published_policy_is_valid() -> None:
    state = parse_policy(published(), NOW)
    assert isinstance(state, ValidPolicy)
    assert state.view.universe == {"BTCUSDT", "ETHUSDT"}
    assert state.view.leverage_by_symbol == {"BTCUSDT": 5, "ETHUSDT": 3}
    assert state.view.version == "7"


def test_at_its_end_it_is_stale_and_still_carries_its_parameters() -> None:
    state = parse_policy(published(), NOW + 60)
    assert isinstance(state, StalePolicy)
    assert isinstance(state.view, PolicyView)
    assert state.expired_for_s == 0


def test_missing_is_not_malformed() -> None:
    assert read_policy({}, NOW) == Unknown("missing")
    assert read_policy({b"universe_symbols": b"\xff"}, NOW) == Unknown("malformed: not UTF-8")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("universe_symbols", "BTCUSDT"),
        ("universe_symbols", '{"BTCUSDT": 1}'),
        ("universe_symbols", '["BTCUSDT", 5]'),
        ("leverage_by_symbol", "[]"),
        ("leverage_by_symbol", '{"BTCUSDT": 0}'),
        ("leverage_by_symbol", '{"BTCUSDT": 126}'),
        ("leverage_by_symbol", '{"BTCUSDT": 2.5}'),
        ("leverage_by_symbol", '{"BTCUSDT": true}'),
        ("leverage_by_symbol", '{"BTCUSDT": NaN}'),
        ("leverage_by_symbol", '{"BTCUSDT": "5"}'),
        ("valid_until_epoch", "never"),
        ("valid_until_epoch", "-1"),
    ],
)
def test_a_malformed_field_makes_the_policy_unknown(field: str, value: str) -> None:
    assert parse_policy(published(**{field: value}), NOW) == Unknown(f"malformed: {field}")


@given(
    st.dictionaries(
        st.sampled_from([*published(), "other"]), st.text() | st.sampled_from(["[]", "{}", "1"])
    )
)
def test_no_content_makes_it_raise(fields: dict[str, str]) -> None:
    assert isinstance(parse_policy(fields, NOW), ValidPolicy | StalePolicy | Unknown)
