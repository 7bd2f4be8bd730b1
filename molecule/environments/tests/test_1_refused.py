"""A move that must not be made changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from stage import SOURCE_NAMES, SYMBOL, Stage, new_keys


@pytest.fixture
def untouched(stage: Stage) -> Iterator[Stage]:
    before = stage.fingerprints()
    yield stage
    assert stage.fingerprints() == before


def test_without_a_word_no_host_moves(untouched: Stage) -> None:
    done = untouched.deploy("mainnet")
    assert done.code != 0
    assert "-e confirm=mainnet" in done.text


def test_keys_of_the_test_network_are_refused_on_the_main_one(untouched: Stage) -> None:
    found = untouched.variables("testnet.env")
    same = [found[f"BINANCE_TESTNET_{name}"] for name in SOURCE_NAMES]
    done = untouched.deploy(
        "mainnet", "-e", "confirm=mainnet", keys=dict(zip(new_keys(), same, strict=True))
    )
    assert done.code != 0
    assert "is also in /etc/quantum/testnet.env" in done.text


def test_keys_that_the_main_network_refuses_are_refused(untouched: Stage) -> None:
    done = untouched.deploy("mainnet", "-e", "confirm=mainnet", "-vvv", keys=new_keys())
    assert done.code != 0
    assert "the trading key of mainnet is refused" in done.text
    assert "the reading key of mainnet is refused" in done.text


def test_an_open_position_refuses_and_live_is_not_to_be_had_at_once(stage: Stage) -> None:
    assert stage.open_position() == ""
    before = stage.fingerprints()
    done = stage.deploy("mainnet", "-e", "confirm=mainnet", "-e", "expect=live")
    assert done.code != 0
    assert f"it has positions on testnet: {SYMBOL} 1" in done.text
    assert "without -e expect=live" in done.text
    assert stage.fingerprints() == before
