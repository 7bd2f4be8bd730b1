"""LIVE only when everything is spelt right; the env kill switch is off for a handful of words."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_exit.exit_mode import (
    KILLED_LINE,
    LIVE_LINE,
    OFF_WORDS,
    ExitMode,
    TradingState,
    env_kill_active,
    rollout_bucket,
)

LIVE = {
    "EXIT_BRAIN_V35_ENABLED": "true",
    "EXIT_MODE": "EXIT_BRAIN_V3",
    "EXIT_EXECUTOR_MODE": "LIVE",
    "EXIT_BRAIN_V3_LIVE_ROLLOUT": "ENABLED",
    "EXIT_EXECUTOR_KILL_SWITCH": "false",
}


def state(**changes: str | None) -> TradingState:
    environ = {k: v for k, v in {**LIVE, **changes}.items() if v is not None}
    return ExitMode.from_environ(environ).state_of("BTCUSDT")


@pytest.mark.parametrize("word", ["false", "0", "no", "off", "disabled", "FALSE", "Off", " no\n"])
def test_the_off_words(word: str) -> None:
    assert not env_kill_active({"EXIT_EXECUTOR_KILL_SWITCH": word})
    assert state(EXIT_EXECUTOR_KILL_SWITCH=word) is TradingState.LIVE


@pytest.mark.parametrize(
    "word",
    ["", " ", "true", "1", "yes", "on", "flase", "'false'", '"false"', "none", "0.0", "ｏｆｆ"],
)
def test_everything_else_is_active(word: str) -> None:
    assert env_kill_active({"EXIT_EXECUTOR_KILL_SWITCH": word})
    assert state(EXIT_EXECUTOR_KILL_SWITCH=word) is TradingState.SHADOW


@given(st.text(max_size=12))
def test_no_other_word_is_off(word: str) -> None:
    off = word.strip().lower() in OFF_WORDS
    assert env_kill_active({"EXIT_EXECUTOR_KILL_SWITCH": word}) is not off


def test_unset_is_off() -> None:
    assert not env_kill_active({})
    assert state(EXIT_EXECUTOR_KILL_SWITCH=None) is TradingState.LIVE


def test_live_needs_everything() -> None:
    assert state() is TradingState.LIVE
    assert state(EXIT_BRAIN_V35_ENABLED=" TRUE ", EXIT_MODE="exit_brain_v3") is TradingState.LIVE
    for name in LIVE.keys() - {"EXIT_EXECUTOR_KILL_SWITCH"}:
        assert state(**{name: None}) is TradingState.SHADOW
        assert state(**{name: ""}) is TradingState.SHADOW
        assert state(**{name: LIVE[name] + "X"}) is TradingState.SHADOW
    assert state(EXIT_BRAIN_V35_ENABLED="1") is TradingState.SHADOW
    assert state(EXIT_MODE="LEGACY") is TradingState.SHADOW


@given(st.dictionaries(st.sampled_from(sorted(LIVE)), st.text(max_size=14), max_size=5))
def test_any_misspelling_is_shadow(changes: dict[str, str]) -> None:
    spelt_right = all(
        env_kill_active({name: value}) is False
        if name == "EXIT_EXECUTOR_KILL_SWITCH"
        else value.strip().upper() == LIVE[name].upper()
        for name, value in changes.items()
    )
    assert (state(**changes) is TradingState.LIVE) == spelt_right


@pytest.mark.parametrize("text", ["", "x", "-1", "101", "NaN", "Infinity", "50%", "1e9999999"])
def test_a_share_that_is_none_is_nobody(text: str) -> None:
    assert state(EXIT_LIVE_ROLLOUT_PCT=text) is TradingState.SHADOW


def test_the_share_of_symbols() -> None:
    assert state(EXIT_LIVE_ROLLOUT_PCT=None) is TradingState.LIVE
    assert state(EXIT_LIVE_ROLLOUT_PCT="100") is TradingState.LIVE
    assert state(EXIT_LIVE_ROLLOUT_PCT="0") is TradingState.SHADOW


def test_the_buckets_are_the_same_everywhere_and_for_ever() -> None:
    assert rollout_bucket("BTCUSDT") == Decimal("90.65")
    assert rollout_bucket("ETHUSDT") == Decimal("13.42")
    assert rollout_bucket("1000PEPEUSDT") == Decimal("86.83")
    assert rollout_bucket(" btcusdt ") == rollout_bucket("BTCUSDT")


@given(st.text(max_size=20))
def test_a_bucket_lies_within_the_hundred(symbol: str) -> None:
    assert 0 <= rollout_bucket(symbol) < 100


def test_a_growing_share_only_adds_symbols() -> None:
    symbols = [f"S{number}USDT" for number in range(300)]
    live: set[str] = set()
    for pct in range(0, 101, 5):
        mode = ExitMode.from_environ({**LIVE, "EXIT_LIVE_ROLLOUT_PCT": str(pct)})
        now = {s for s in symbols if mode.state_of(s) is TradingState.LIVE}
        assert live <= now
        assert abs(len(now) - len(symbols) * pct / 100) < 35
        live = now
    assert len(live) == len(symbols)


def test_the_lines_operators_look_for() -> None:
    first, second = ExitMode.from_environ(LIVE).start_lines()
    assert first.startswith("[EXIT_MODE] Configuration loaded: ")
    assert first.endswith(", KILL_SWITCH=OFF")
    assert second == LIVE_LINE
    killed = ExitMode.from_environ({**LIVE, "EXIT_EXECUTOR_KILL_SWITCH": ""}).start_lines()
    assert killed[0].endswith(", KILL_SWITCH=ACTIVE")
    assert killed[1] == KILLED_LINE
    shadow = ExitMode.from_environ({}).start_lines()
    assert shadow[0].endswith(", KILL_SWITCH=OFF")
    assert "SHADOW" in shadow[1]
    assert LIVE_LINE not in shadow
