"""A policy file is right, or every fault in it is named by its path."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import quantum_exit.policy
from quantum_exit.binance.model import SymbolRules
from quantum_exit.exits.params import parse_harvest_params
from quantum_exit.policy.file import UnreadableError, read_policy_file
from quantum_exit.policy.model import (
    InvalidPolicyError,
    Policy,
    check_against,
    parse_policy_document,
)
from quantum_exit.policy.reader import ValidPolicy, parse_policy

NOW = 1_700_000_000.0
EXAMPLE = Path(quantum_exit.policy.__file__).with_name("example.yml")
ONE = Decimal(1)


def document(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "universe_symbols": ["BTCUSDT", "ETHUSDT"],
        "leverage_by_symbol": {"BTCUSDT": 5, "ETHUSDT": 3},
    }
    return base | changes


def problems(**changes: Any) -> tuple[str, ...]:
    with pytest.raises(InvalidPolicyError) as caught:
        parse_policy_document(document(**changes))
    return caught.value.problems


def rules(*symbols: str, status: str = "TRADING") -> dict[str, SymbolRules]:
    return {
        symbol: SymbolRules(symbol, status, ONE, ONE, ONE, ONE, ONE, ONE, ONE, ONE, ONE, ONE)
        for symbol in symbols
    }


def test_the_example_is_a_policy() -> None:
    policy = read_policy_file(EXAMPLE)
    assert policy.universe == ("BTCUSDT", "ETHUSDT")
    harvest = parse_harvest_params(policy.harvest_params_json)
    assert harvest.for_symbol("BTCUSDT").stop_loss_pct == Decimal("1.2")


def test_what_is_published_is_what_readers_read() -> None:
    policy = parse_policy_document(document(valid_for="2h"))
    state = parse_policy(policy.published(NOW), NOW)
    assert isinstance(state, ValidPolicy)
    assert state.view.universe == {"BTCUSDT", "ETHUSDT"}
    assert state.view.leverage_by_symbol == {"BTCUSDT": 5, "ETHUSDT": 3}
    assert state.view.valid_until_epoch == NOW + 7200
    assert state.view.policy_hash == policy.policy_hash


def test_without_exit_rules_there_is_a_stop() -> None:
    for nothing in (None, {}):
        policy = parse_policy_document(document(harvest_params=nothing))
        assert parse_harvest_params(policy.harvest_params_json).default.stop_loss_pct == 2


def test_the_hash_is_of_the_content_not_of_its_order_or_validity() -> None:
    first = parse_policy_document(document(valid_for="2h"))
    turned = document(universe_symbols=["ETHUSDT", "BTCUSDT"], valid_for="3h")
    assert parse_policy_document(turned).policy_hash == first.policy_hash
    changed = document(leverage_by_symbol={"BTCUSDT": 6, "ETHUSDT": 3})
    assert parse_policy_document(changed).policy_hash != first.policy_hash


@pytest.mark.parametrize(
    ("changes", "begins"),
    [
        ({"universe_symbols": []}, "universe_symbols: missing"),
        ({"universe_symbols": ["btcusdt", "ETHUSDT"]}, "universe_symbols[0]: btcusdt"),
        ({"universe_symbols": ["BTCUSDT", "ETHUSDT", "BTCUSDT"]}, "universe_symbols[2]: BTCUSDT"),
        ({"leverage_by_symbol": {"BTCUSDT": 5}}, "leverage_by_symbol.ETHUSDT: missing"),
        ({"leverage_by_symbol": {"BTCUSDT": 5, "ETHUSDT": 0}}, "leverage_by_symbol.ETHUSDT: 0"),
        ({"leverage_by_symbol": {"BTCUSDT": 5, "ETHUSDT": 1.5}}, "leverage_by_symbol.ETHUSDT: 1.5"),
        ({"leverage_by_symbol": {"BTCUSDT": True, "ETHUSDT": 3}}, "leverage_by_symbol.BTCUSDT"),
        ({"harvest_params": {"defualt": {}}}, "harvest_params"),
        ({"harvest_params": {"default": {"stop_loss_pct": 0}}}, "harvest_params.default"),
        (
            {"harvest_params": {"default": {"stop_loss_pct": float("nan")}}},
            "harvest_params.default",
        ),
        ({"kill_params": {1: 2}}, "kill_params.1"),
        ({"kill_params": [1]}, "kill_params: not a mapping"),
        ({"valid_for": "5m"}, "valid_for: 5m is not within"),
        ({"valid_for": "soon"}, "valid_for: soon is not a duration"),
        ({"version": "a b"}, "version: a b"),
        ({"universe_symbol": []}, "universe_symbol: unknown field: did you mean universe_symbols?"),
    ],
)
def test_each_fault_is_named_by_its_path(changes: dict[str, Any], begins: str) -> None:
    assert any(problem.startswith(begins) for problem in problems(**changes)), problems(**changes)


def test_all_faults_are_named_at_once() -> None:
    assert len(problems(valid_for="soon", version="a b", kill_params=5)) == 3


def test_symbols_must_trade_and_leverages_be_within_their_brackets() -> None:
    policy = parse_policy_document(document())
    check_against(policy, rules("BTCUSDT", "ETHUSDT"), {"BTCUSDT": 5, "ETHUSDT": 3})
    check_against(policy, rules("BTCUSDT", "ETHUSDT"), None)
    with pytest.raises(InvalidPolicyError, match="did you mean ETHUSDC"):
        check_against(policy, rules("BTCUSDT", "ETHUSDC"), None)
    with pytest.raises(InvalidPolicyError, match="status SETTLING"):
        check_against(policy, rules("BTCUSDT") | rules("ETHUSDT", status="SETTLING"), None)
    with pytest.raises(InvalidPolicyError, match=r"leverage_by_symbol.BTCUSDT: 5 is above"):
        check_against(policy, rules("BTCUSDT", "ETHUSDT"), {"BTCUSDT": 4})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("universe_symbols: [A]\nuniverse_symbols: [B]\n", "twice"),
        ("a: &x [1]\nb: *x\n", "aliases"),
        ("a: [", "not YAML"),
        ("!!python/object/apply:os.system ['true']", "not YAML"),
        ("- a\n", "not a mapping"),
        ("", "not a mapping"),
        ("kill_params: {since: 2020-01-01}\n", "kill_params.since: a date"),
        ("\x00", "not YAML"),
    ],
)
def test_a_file_that_yaml_would_guess_at_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "policy.yml"
    path.write_text(text)
    with pytest.raises(InvalidPolicyError, match=says):
        read_policy_file(path)


def test_a_missing_file_is_not_an_invalid_policy(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="No such file"):
        read_policy_file(tmp_path / "policy.yml")


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
anything = st.recursive(
    leaves, lambda inner: st.lists(inner) | st.dictionaries(leaves, inner), max_leaves=10
)
names = st.sampled_from(
    ["universe_symbols", "leverage_by_symbol", "harvest_params", "kill_params", "valid_for"]
)


@given(st.dictionaries(names, anything, max_size=3))
def test_any_content_is_a_policy_that_reads_back_or_a_named_fault(changes: dict[str, Any]) -> None:
    made: Policy | tuple[str, ...]
    try:
        made = parse_policy_document(document(**changes))
    except InvalidPolicyError as error:
        made = error.problems
    assert made
    if not isinstance(made, Policy):
        return
    policy = made
    fields = policy.published(NOW)
    assert isinstance(parse_policy(fields, NOW), ValidPolicy)
    assert all(isinstance(json.loads(fields[n]), dict) for n in ("harvest_params", "kill_params"))
    assert replace(policy, version="x").published(NOW)["policy_hash"] == policy.policy_hash
