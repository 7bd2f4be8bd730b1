"""Which intents go out, for what reason, how often, and what survives."""

import json
from decimal import Decimal
from itertools import pairwise

import pytest

from quantum_exit import keys
from quantum_exit.messages import IntentAction
from quantum_exit.signing import INTENT_FIELDS, Verifier
from quantum_exit.values import PositionSide

from .harness import OWNER, PUBLIC, Brain

BTC = "BTCUSDT"


def test_a_stop_that_is_crossed_becomes_a_signed_intent(brain: Brain) -> None:
    brain.exchange.hold(BTC, "0.5", "100")
    brain.cycle()
    assert brain.intents == []
    brain.price(BTC, "98")
    brain.cycle()
    (intent,) = brain.intents
    assert intent.action is IntentAction.FULL_CLOSE
    assert intent.side is PositionSide.LONG
    assert (intent.quantity, intent.qty_fraction) == (Decimal("0.5"), 1)
    assert intent.source == OWNER
    verifier = Verifier({"EXITBRAIN_V3_5": PUBLIC})
    assert verifier.verify(OWNER, intent.wire, INTENT_FIELDS)
    assert abs(float(intent.ts_epoch) - brain.clock.now) < 0.001


def test_a_short_is_stopped_above_its_entry(brain: Brain) -> None:
    brain.exchange.hold(BTC, "-3", "100", mark="101.99")
    brain.cycle()
    assert brain.intents == []
    brain.price(BTC, "102")
    brain.cycle()
    (intent,) = brain.intents
    assert intent.side is PositionSide.SHORT
    assert intent.quantity == 3


def test_a_position_seen_for_the_first_time_below_its_stop_is_closed_at_once(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100", mark="90")
    brain.cycle()
    assert len(brain.intents) == 1


def test_no_second_intent_while_one_is_in_flight(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100", mark="95")
    brain.cycle(30)
    assert len(brain.intents) == 1


def test_a_denied_exit_is_asked_for_again_with_growing_pauses(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100", mark="95")
    brain.cycle()
    asked_at = [brain.clock.now]
    while len(asked_at) < 8:
        count = len(brain.intents)
        brain.answer(brain.intents[-1], error="position_stale")
        while len(brain.intents) == count:
            brain.cycle(every_s=0.5)
        asked_at.append(brain.clock.now)
    # Half a second to read the answer, then the pause.
    pauses = [later - earlier - 0.5 for earlier, later in pairwise(asked_at)]
    assert [round(pause) for pause in pauses] == [1, 2, 4, 8, 16, 30, 30]
    assert len({intent.intent_id for intent in brain.intents}) == 8
    (alert,) = brain.alerts("UNPROTECTED_POSITION")
    assert alert["attempts"] == 3
    assert alert["last_error"] == "position_stale"


def test_an_intent_without_a_result_is_given_up_after_its_lifetime(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100", mark="95")
    brain.cycle()
    brain.cycle(every_s=61)
    assert len(brain.intents) == 1
    brain.cycle(3)
    assert len(brain.intents) == 2


def test_it_stops_asking_when_the_reason_is_gone(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100", mark="98")
    brain.cycle()
    brain.answer(brain.intents[0], error="position_stale")
    brain.price(BTC, "99")
    brain.cycle(40)
    assert len(brain.intents) == 1


def test_anothers_result_under_the_name_of_an_exit_answers_nothing(brain: Brain) -> None:
    levels = [{"pct": 3, "fraction": "0.5"}]
    brain.policy({"default": {"stop_loss_pct": 2, "take_profits": levels}})
    brain.exchange.hold(BTC, "2", "100", mark="103")
    brain.cycle()
    (intent,) = brain.intents
    plan_id = f"exit-{intent.intent_id}"
    brain.result(plan_id, BTC, "SELL", "0", error="NOT_EXIT_OWNER", decision="DENIED")
    brain.cycle(5)
    assert len(brain.intents) == 1  # it may be on its way: a second would take the level twice
    brain.result(plan_id, BTC, "BUY", "1")
    brain.exchange.hold(BTC, "3", "100", mark="103")
    brain.cycle()
    brain.answer(intent, error="position_stale")
    brain.cycle(5)
    assert len(brain.intents) == 2  # nor is a level done that nobody took
    assert brain.alerts("UNAUTHORIZED_POSITION_CHANGE") == []


def test_a_close_that_filled_in_part_is_finished(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100", mark="98")
    brain.cycle()
    brain.answer(brain.intents[0], filled="0.4")
    brain.exchange.hold(BTC, "0.6", "100", mark="99")
    brain.cycle(3)
    assert [intent.quantity for intent in brain.intents] == [1, Decimal("0.6")]


def test_an_executed_close_is_not_asked_for_again_before_the_exchange_shows_it(
    brain: Brain,
) -> None:
    brain.exchange.hold(BTC, "1", "100", mark="98")
    brain.cycle()
    brain.answer(brain.intents[0], filled="1")
    brain.cycle(every_s=0.3)
    brain.exchange.hold(BTC, "0", "0")
    brain.cycle(3)
    assert len(brain.intents) == 1


def test_a_fill_that_is_told_after_the_next_attempt_went_out_still_counts(brain: Brain) -> None:
    levels = [{"pct": 3, "fraction": "0.5"}]
    brain.policy({"default": {"stop_loss_pct": 2, "take_profits": levels}})
    brain.exchange.hold(BTC, "2", "100", mark="103")
    brain.cycle()
    brain.cycle(every_s=63)
    brain.cycle(2)
    first, second = brain.intents
    brain.answer(first, filled="1")
    brain.exchange.hold(BTC, "1", "100", mark="103")
    brain.cycle()
    brain.answer(second, error="position_stale")
    brain.cycle(60)
    assert len(brain.intents) == 2


def test_state_survives_a_kill_and_the_intent_in_flight_is_not_repeated(brain: Brain) -> None:
    trailing = {"stop_loss_pct": 5, "trailing_start_pct": 2, "trailing_distance_pct": 1}
    brain.policy({"default": trailing})
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle()
    brain.price(BTC, "110")
    brain.cycle()
    brain.restart()
    brain.price(BTC, "108.9")
    brain.cycle()
    (intent,) = brain.intents
    assert intent.reason.startswith("TRAILING_STOP")
    brain.restart()
    brain.cycle(5)
    assert brain.intents == [intent]


def test_a_flushed_redis_loses_neither_the_highest_price_nor_what_is_in_flight(
    brain: Brain,
) -> None:
    brain.exchange.hold(BTC, "1", "100", mark="97")
    brain.exchange.hold("ETHUSDT", "1", "100")
    brain.cycle()
    brain.redis.flushall()
    brain.switch(active=False)
    brain.cycle()
    brain.restart()
    brain.cycle(3)
    assert brain.intents == []
    assert brain.redis.get(keys.BRAIN_ENV_KILL) == "false"


@pytest.mark.parametrize("on_its_way", [False, True])
def test_one_answer_without_a_position_that_nothing_closed_loses_no_trailing_stop(
    brain: Brain, on_its_way: bool
) -> None:
    """Nor where an order may have closed it: its result says so, or it ends without one."""
    trailing = {"stop_loss_pct": 5, "trailing_start_pct": 2, "trailing_distance_pct": 1}
    brain.policy({"default": trailing})
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle(3)
    brain.price(BTC, "110")
    brain.cycle()
    held, brain.exchange.held = brain.exchange.held, {}
    if on_its_way:
        brain.redis.hset(keys.EXECUTOR_OPEN, "grant", json.dumps({"symbol": BTC}))
    brain.cycle()
    brain.exchange.held = held
    brain.price(BTC, "108.9")
    brain.cycle()
    assert [intent.reason.partition(":")[0] for intent in brain.intents] == ["TRAILING_STOP"]


def test_a_position_that_turned_round_unseen_starts_anew(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle()
    brain.exchange.hold(BTC, "-1", "90", mark="91")
    brain.cycle()
    assert brain.intents == []
    brain.price(BTC, "91.8")
    brain.cycle()
    assert [intent.side for intent in brain.intents] == [PositionSide.SHORT]


def test_a_position_opened_anew_as_it_was_is_another_one(brain: Brain) -> None:
    """Closed and opened between two looks, as large and at the same price: its time has only
    begun, and no close that was under way for the one before it goes on."""
    brain.policy({"default": {"stop_loss_pct": 2, "max_hold_s": 60}})
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle(every_s=61)
    (intent,) = brain.intents
    assert intent.reason.startswith("TIME_LIMIT")
    brain.answer(intent, filled="1")
    brain.exchange.hold(BTC, "0", "0")
    brain.result("open-2", BTC, "BUY", "1")
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle(30)
    assert len(brain.intents) == 1
    assert brain.alerts("UNAUTHORIZED_POSITION_CHANGE") == []


def test_a_position_that_grows_keeps_its_stop(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle()
    brain.exchange.hold(BTC, "2", "98.5", mark="97.9")
    brain.cycle()
    (intent,) = brain.intents
    assert "threshold=98" in intent.reason
    assert intent.quantity == 2


def test_a_position_closed_and_reopened_larger_between_two_looks_starts_anew(
    brain: Brain,
) -> None:
    trailing = {"stop_loss_pct": 2, "trailing_start_pct": 2, "trailing_distance_pct": 1}
    brain.policy({"default": trailing})
    brain.exchange.hold(BTC, "1", "100", mark="110")
    brain.cycle()
    brain.price(BTC, "108")
    brain.cycle()
    brain.answer(brain.intents[0], filled="1")
    brain.result("bridge", BTC, "BUY", "2")
    brain.exchange.hold(BTC, "2", "107.5")
    brain.cycle(5)
    assert len(brain.intents) == 1  # the new one's stop lies at 105.35
    brain.price(BTC, "105.3")
    brain.cycle()
    assert brain.intents[1].quantity == 2


def test_an_entry_price_rounded_otherwise_does_not_loosen_the_stop(brain: Brain) -> None:
    trailing = {"stop_loss_pct": 2, "trailing_start_pct": 2, "trailing_distance_pct": 1}
    brain.policy({"default": trailing})
    brain.exchange.hold(BTC, "2", "100", mark="110")
    brain.cycle()
    brain.exchange.hold(BTC, "1", "100.00000001", mark="108.9")
    brain.cycle()
    assert [intent.reason.split(":")[0] for intent in brain.intents] == ["TRAILING_STOP"]


def test_a_profit_that_the_larger_position_never_had_moves_no_stop(brain: Brain) -> None:
    rules = {"break_even_at_pct": 2, "trailing_start_pct": 2, "trailing_distance_pct": 1}
    brain.policy({"default": {"stop_loss_pct": 5, **rules}})
    for symbol, sign in (("AUSDT", 1), ("BUSDT", -1)):
        brain.exchange.hold(symbol, str(sign), "100", mark=str(100 + sign * Decimal("1.5")))
    brain.cycle()
    for symbol, sign in (("AUSDT", 1), ("BUSDT", -1)):
        entry = str(100 - sign)  # as much again was bought, at a worse price
        brain.exchange.hold(symbol, str(2 * sign), entry, mark=str(100 - 2 * sign))
    brain.cycle(3)
    assert brain.intents == []
    brain.price("AUSDT", "101.5")
    brain.price("BUSDT", "98.5")
    brain.cycle()
    brain.price("AUSDT", "99")
    brain.price("BUSDT", "101")
    brain.cycle()
    assert sorted(intent.symbol for intent in brain.intents) == ["AUSDT", "BUSDT"]


def test_without_an_entry_price_nothing_is_taken_for_profit_or_loss(brain: Brain) -> None:
    profits = [{"pct": 50, "fraction": "0.5"}]
    brain.policy({"default": {"stop_loss_pct": 2, "take_profits": profits}})
    for symbol, amount in (("AUSDT", "1"), ("BUSDT", "-1")):
        brain.exchange.hold(symbol, amount, "0", mark="100")
    brain.cycle(3)
    assert brain.intents == []
    assert brain.heartbeat["unpriced"] == "AUSDT,BUSDT"
    for symbol, amount in (("AUSDT", "1"), ("BUSDT", "-1")):
        brain.exchange.hold(symbol, amount, "100", mark="100")
    brain.cycle()
    assert (brain.intents, brain.heartbeat["unpriced"]) == ([], "")
    brain.price("AUSDT", "98")
    brain.price("BUSDT", "102")
    brain.cycle()
    assert sorted(intent.symbol for intent in brain.intents) == ["AUSDT", "BUSDT"]


def test_an_entry_price_that_an_answer_leaves_out_changes_nothing(brain: Brain) -> None:
    trailing = {"stop_loss_pct": 2, "trailing_start_pct": 2, "trailing_distance_pct": 1}
    brain.policy({"default": trailing})
    brain.exchange.hold("AUSDT", "1", "100", mark="110")
    brain.exchange.hold("BUSDT", "-1", "100", mark="90")
    brain.cycle()
    brain.exchange.hold("AUSDT", "1", "0", mark="109")
    brain.exchange.hold("BUSDT", "-1", "0", mark="90.5")
    brain.cycle()
    assert brain.intents == []
    brain.price("AUSDT", "108.9")
    brain.cycle()
    assert [intent.reason.split(":")[0] for intent in brain.intents] == ["TRAILING_STOP"]


def test_the_atr_comes_from_closed_klines_once_for_each_position(brain: Brain) -> None:
    atr_stop = {"stop_loss_pct": 5, "stop_loss_atr_multiple": 2, "atr_period": 3}
    brain.policy({"default": atr_stop})
    still_open = brain.kline("100", "50", "60")
    brain.exchange.candles = [*[brain.kline("100.5", "99.5", "100")] * 4, still_open]
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle(3)
    assert [call for call in brain.exchange.calls if "klines" in call] == ["klines BTCUSDT 1m"]
    brain.price(BTC, "98.01")
    brain.cycle()
    assert brain.intents == []
    brain.price(BTC, "98")
    brain.cycle()
    assert brain.intents[0].reason.startswith("ATR_STOP")
