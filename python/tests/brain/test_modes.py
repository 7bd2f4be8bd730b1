"""LIVE, SHADOW and KILLED: what is written where, and what is said of it."""

from collections.abc import Callable
from pathlib import Path

from quantum_exit import keys

from .harness import Brain

BTC = "BTCUSDT"


def test_shadow_writes_each_reason_once_and_no_intent(make_brain: Callable[..., Brain]) -> None:
    brain = make_brain(EXIT_EXECUTOR_MODE="SHADOW")
    brain.exchange.hold(BTC, "1", "100", mark="95")
    brain.cycle(5)
    assert brain.intents == []
    (entry,) = brain.shadow
    assert entry["mode"] == "SHADOW"
    assert "sig" not in entry
    assert brain.heartbeat["mode"] == "SHADOW"


def test_only_symbols_inside_the_rollout_are_live(make_brain: Callable[..., Brain]) -> None:
    brain = make_brain(EXIT_LIVE_ROLLOUT_PCT="50")
    symbols = [f"SYM{n}USDT" for n in range(40)]
    for symbol in symbols:
        brain.exchange.hold(symbol, "1", "100", mark="95")
    brain.cycle()
    live = {intent.symbol for intent in brain.intents}
    shadow = {entry["symbol"] for entry in brain.shadow}
    assert live
    assert shadow
    assert live | shadow == set(symbols)
    assert not live & shadow


def test_a_kill_switch_turns_intents_into_shadow_and_off_into_intents_again(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100", mark="99")
    brain.cycle()
    brain.switch(active=True)
    brain.price(BTC, "95")
    brain.cycle(3)
    assert brain.intents == []
    assert [entry["mode"] for entry in brain.shadow] == ["KILLED"]
    assert brain.heartbeat["mode"] == "KILLED"
    assert brain.heartbeat["ready"] == "true"
    brain.switch(active=False)
    brain.cycle()
    assert len(brain.intents) == 1
    changes = [(a["from"], a["to"]) for a in brain.alerts("MODE_CHANGED")]
    assert changes == [("LIVE", "KILLED"), ("KILLED", "LIVE")]
    control = brain.redis.lrange(keys.EXITBRAIN_CONTROL, 0, -1)
    assert len(control) == 3


def test_a_missing_or_malformed_runtime_switch_counts_as_on(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100", mark="95")
    brain.redis.delete(keys.KILL_SWITCH)
    brain.cycle()
    brain.redis.set(keys.KILL_SWITCH, "off")
    brain.cycle()
    brain.redis.delete(keys.KILL_SWITCH)
    brain.redis.hset(keys.KILL_SWITCH, "active", "false")
    brain.cycle()
    assert brain.intents == []
    assert brain.heartbeat["mode"] == "KILLED"


def test_the_kill_file_counts_and_a_missing_one_is_on(
    make_brain: Callable[..., Brain], tmp_path: Path
) -> None:
    file = tmp_path / "kill_switch"
    brain = make_brain(QUANTUM_KILL_FILE=str(file))
    brain.exchange.hold(BTC, "1", "100", mark="95")
    brain.cycle()
    file.write_text("on")
    brain.cycle()
    assert brain.intents == []
    file.write_text("off")
    brain.cycle()
    assert len(brain.intents) == 1


def test_the_env_kill_switch_is_told_to_the_executor_until_a_start_without_it(
    make_brain: Callable[..., Brain],
) -> None:
    brain = make_brain(EXIT_EXECUTOR_KILL_SWITCH="")
    brain.exchange.hold(BTC, "1", "100", mark="95")
    brain.cycle()
    assert brain.redis.get(keys.BRAIN_ENV_KILL) == "true"
    assert brain.intents == []
    brain.restart(EXIT_EXECUTOR_KILL_SWITCH="false")
    brain.cycle()
    assert brain.redis.get(keys.BRAIN_ENV_KILL) == "false"
    assert len(brain.intents) == 1
