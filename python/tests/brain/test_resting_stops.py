"""The protective stop on the exchange: placed, moved make-before-break, swept."""

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from quantum_exit import keys
from quantum_exit.binance.errors import ExchangeError
from quantum_exit.binance.model import AlgoAck
from quantum_exit.brain.resting import client_id_of
from quantum_exit.executor.grant import cancelled_client_id, stop_client_id
from quantum_exit.messages import ExitIntent, IntentAction
from quantum_exit.values import PositionSide

from .harness import OWNER, Brain

BTC = "BTCUSDT"
PLACE, CANCEL = IntentAction.PLACE_STOP, IntentAction.CANCEL_STOP


@pytest.fixture
def brain(make_brain: Callable[..., Brain]) -> Brain:
    return make_brain(EXIT_BRAIN_EXCHANGE_STOP="true")


def _asked(brain: Brain, action: IntentAction) -> list[ExitIntent]:
    return [intent for intent in brain.intents if intent.action is action]


def _execute(brain: Brain, intent: ExitIntent) -> None:
    """What executor and exchange make of a stop's intent."""
    if intent.action is PLACE:
        assert intent.trigger_price is not None
        assert intent.quantity is not None
        client_id = stop_client_id(intent.intent_id)
        brain.exchange.algos[client_id] = AlgoAck(
            algo_id=len(brain.exchange.algos) + 1,
            client_algo_id=client_id,
            status="NEW",
            symbol=intent.symbol,
            side=intent.side.exit_order_side.value,
            quantity=intent.quantity,
            trigger_price=intent.trigger_price,
            reduce_only=True,
            actual_order_id=None,
        )
    else:
        client_id = cancelled_client_id(intent.intent_id) or ""
        brain.exchange.algos[client_id] = replace(
            brain.exchange.algos[client_id], status="CANCELED"
        )
    plan_id = f"exit-{intent.intent_id}"
    side = intent.side.exit_order_side.value
    brain.result(plan_id, intent.symbol, side, "0", plan_source=OWNER)


def _resting(brain: Brain) -> list[Decimal]:
    return [a.trigger_price for a in brain.exchange.algos.values() if a.status == "NEW"]


def _with_stop(brain: Brain) -> None:
    brain.exchange.hold(BTC, "2", "100")
    brain.cycle()
    _execute(brain, brain.intents[-1])
    brain.cycle()


def test_each_live_position_gets_one_further_away_than_its_own_stop(brain: Brain) -> None:
    brain.exchange.hold(BTC, "2", "100")
    brain.exchange.hold("ETHUSDT", "-3", "100")
    brain.cycle(3)
    long, short = sorted(_asked(brain, PLACE), key=lambda intent: intent.symbol)
    assert (long.side, long.trigger_price, long.quantity) == (PositionSide.LONG, 97, 2)
    assert (short.side, short.trigger_price, short.quantity) == (PositionSide.SHORT, 103, 3)


def test_the_heartbeat_tells_which_positions_have_none(brain: Brain) -> None:
    brain.exchange.hold("ETHUSDT", "1", "100")
    _with_stop(brain)
    beat = brain.heartbeat
    assert (beat["exchange_stop"], beat["exchange_stops"]) == ("on", "1")
    assert beat["exchange_stops_missing"] in {"ETHUSDT", BTC}


def test_it_is_moved_by_placing_the_new_one_first(brain: Brain) -> None:
    brain.policy(
        {
            "default": {
                "stop_loss_pct": 2,
                "trailing_start_pct": 1,
                "trailing_distance_pct": 1,
            }
        }
    )
    _with_stop(brain)
    assert _resting(brain) == [97]
    brain.price(BTC, "110")
    brain.cycle(3)
    assert _asked(brain, CANCEL) == []
    assert _resting(brain) == [97]
    _execute(brain, _asked(brain, PLACE)[-1])
    brain.cycle()
    assert _resting(brain) == [97, Decimal("107.9")]
    (cancel,) = _asked(brain, CANCEL)
    _execute(brain, cancel)
    brain.cycle(5)
    assert _resting(brain) == [Decimal("107.9")]
    assert len(_asked(brain, PLACE)) == 2
    assert len(_asked(brain, CANCEL)) == 1


def test_it_does_not_follow_every_tick(brain: Brain) -> None:
    brain.policy(
        {
            "default": {
                "stop_loss_pct": 2,
                "trailing_start_pct": "0.1",
                "trailing_distance_pct": 2,
            }
        }
    )
    _with_stop(brain)
    for tick in range(30):
        brain.price(BTC, str(Decimal(100) + Decimal(tick) / 100))
        brain.cycle()
    assert len(_asked(brain, PLACE)) == 1


def test_a_position_that_grew_gets_a_larger_one(brain: Brain) -> None:
    _with_stop(brain)
    brain.exchange.hold(BTC, "5", "100")
    brain.result("bridge", BTC, "BUY", "3")
    brain.cycle()
    assert _asked(brain, PLACE)[-1].quantity == 5


def test_it_is_swept_when_the_position_is_gone(brain: Brain) -> None:
    _with_stop(brain)
    brain.exchange.hold(BTC, "0", "0")
    brain.result("exit-x", BTC, "SELL", "2")
    brain.cycle()
    (cancel,) = _asked(brain, CANCEL)
    assert cancelled_client_id(cancel.intent_id) == next(iter(brain.exchange.algos))
    _execute(brain, cancel)
    brain.cycle(5)
    assert len(_asked(brain, CANCEL)) == 1
    assert brain.redis.hgetall("quantum:exitbrain:stops") == {}


def test_one_answer_without_the_position_that_nothing_closed_sweeps_none(brain: Brain) -> None:
    _with_stop(brain)
    brain.cycle()
    held, brain.exchange.held = brain.exchange.held, {}
    brain.cycle()
    brain.exchange.held = held
    brain.cycle(2)
    assert _asked(brain, CANCEL) == []
    brain.exchange.hold(BTC, "0", "0")
    brain.cycle(2)
    assert len(_asked(brain, CANCEL)) == 1  # gone for good, by somebody else's hand


def test_a_refused_cancel_is_asked_for_again_under_a_new_id(brain: Brain) -> None:
    _with_stop(brain)
    brain.exchange.hold(BTC, "0", "0")
    brain.result("exit-x", BTC, "SELL", "2")
    brain.cycle()
    brain.answer(_asked(brain, CANCEL)[0], error="binance_error:-1008:busy")
    brain.cycle(4)
    first, second = _asked(brain, CANCEL)
    assert first.intent_id != second.intent_id
    assert cancelled_client_id(first.intent_id) == cancelled_client_id(second.intent_id)


def test_under_the_kill_switch_stops_remain_and_only_a_flat_symbols_are_cancelled(
    brain: Brain,
) -> None:
    brain.exchange.hold("ETHUSDT", "1", "100")
    brain.cycle()
    _execute(brain, brain.intents[-1])
    _with_stop(brain)
    brain.switch(active=True)
    brain.cycle(3)
    assert _asked(brain, CANCEL) == []
    brain.exchange.hold(BTC, "0", "0")
    brain.cycle(3)
    assert [intent.symbol for intent in _asked(brain, CANCEL)] == [BTC]
    brain.exchange.hold("AUSDT", "1", "100")
    brain.cycle(3)
    assert len(_asked(brain, PLACE)) == 2


def test_the_setting_turned_off_cancels_them(brain: Brain) -> None:
    _with_stop(brain)
    brain.restart(EXIT_BRAIN_EXCHANGE_STOP="false")
    brain.cycle(2)
    assert len(_asked(brain, CANCEL)) == 1
    _execute(brain, _asked(brain, CANCEL)[0])
    brain.cycle(3)
    assert _resting(brain) == []


def test_a_stop_that_somebody_cancelled_is_placed_again(brain: Brain) -> None:
    _with_stop(brain)
    client_id = next(iter(brain.exchange.algos))
    brain.exchange.algos[client_id] = replace(brain.exchange.algos[client_id], status="CANCELED")
    brain.cycle(every_s=61)
    assert len(_asked(brain, PLACE)) == 2


def test_stops_of_ours_that_we_forgot_are_found_and_swept(brain: Brain) -> None:
    _with_stop(brain)
    brain.redis.delete(*brain.redis.keys("quantum:exitbrain:*"))
    brain.exchange.hold(BTC, "0", "0")
    brain.exchange.unreadable = {BTC}
    brain.restart()
    brain.cycle(3)
    assert _asked(brain, CANCEL) == []  # whether it is flat cannot be read
    brain.exchange.unreadable = set()
    brain.cycle()
    (cancel,) = _asked(brain, CANCEL)
    assert cancelled_client_id(cancel.intent_id) == next(iter(brain.exchange.algos))


def test_a_stop_that_fired_explains_the_change(brain: Brain) -> None:
    _with_stop(brain)
    client_id, ack = next(iter(brain.exchange.algos.items()))
    brain.exchange.algos[client_id] = replace(ack, status="FINISHED", actual_order_id=7)
    brain.exchange.hold(BTC, "0", "0")
    brain.cycle(5)
    assert brain.alerts("UNAUTHORIZED_POSITION_CHANGE") == []


def test_a_stop_that_fired_before_its_placement_was_told_explains_the_change(
    brain: Brain,
) -> None:
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle()
    _execute(brain, brain.intents[-1])
    brain.restart()
    client_id, ack = next(iter(brain.exchange.algos.items()))
    brain.exchange.algos[client_id] = replace(ack, status="FINISHED", actual_order_id=7)
    brain.exchange.hold(BTC, "0", "0")
    brain.cycle(5)
    assert brain.alerts("UNAUTHORIZED_POSITION_CHANGE") == []


def test_a_stop_that_left_the_list_before_the_position_showed_it_explains_the_change(
    brain: Brain,
) -> None:
    _with_stop(brain)
    client_id, ack = next(iter(brain.exchange.algos.items()))
    brain.exchange.algos[client_id] = replace(ack, status="FINISHED", actual_order_id=7)
    brain.cycle(every_s=61)
    brain.exchange.hold(BTC, "0", "0")
    brain.cycle(3)
    assert brain.alerts("UNAUTHORIZED_POSITION_CHANGE") == []
    brain.cycle(every_s=61)
    brain.cycle()
    stops = brain.redis.hgetall("quantum:exitbrain:stops")
    assert client_id not in str(stops)


def test_a_stop_that_fired_explains_one_change_and_no_later_one(brain: Brain) -> None:
    _with_stop(brain)
    client_id, ack = next(iter(brain.exchange.algos.items()))
    brain.exchange.algos[client_id] = replace(ack, status="FINISHED", actual_order_id=7)
    brain.exchange.hold(BTC, "0", "0")
    brain.cycle(2)
    brain.exchange.hold(BTC, "1", "100")  # somebody opens it anew: told
    brain.cycle(2)
    brain.exchange.hold(BTC, "0.5", "100")  # and takes half of it away: told as well
    brain.cycle(2)
    assert len(brain.alerts("UNAUTHORIZED_POSITION_CHANGE")) == 2


def test_a_stop_that_fired_while_an_outcome_was_unknown_explains_the_change(brain: Brain) -> None:
    """However long that takes: nobody asks what a stop did before it is over."""
    _with_stop(brain)
    client_id, ack = next(iter(brain.exchange.algos.items()))
    brain.redis.hset(keys.EXECUTOR_OPEN, "grant", json.dumps({"symbol": BTC}))
    brain.exchange.algos[client_id] = replace(ack, status="FINISHED", actual_order_id=7)
    brain.exchange.hold(BTC, "0", "0")
    brain.cycle(200)
    assert len(_asked(brain, PLACE)) == 1  # for what may be gone none is placed
    brain.redis.delete(keys.EXECUTOR_OPEN)
    brain.cycle(5)
    assert brain.alerts("UNAUTHORIZED_POSITION_CHANGE") == []


def test_a_stop_that_cannot_be_looked_up_costs_no_exit(brain: Brain) -> None:
    _with_stop(brain)
    brain.exchange.hold("ETHUSDT", "1", "100")
    brain.cycle(2)
    brain.exchange.failing["query_algo"] = ExchangeError(400, -1102, "no such parameter")
    brain.exchange.hold(BTC, "0", "0")
    brain.price("ETHUSDT", "90")
    brain.cycle()
    assert [i.symbol for i in _asked(brain, IntentAction.FULL_CLOSE)] == ["ETHUSDT"]
    told = [a["symbol"] for a in brain.alerts("UNAUTHORIZED_POSITION_CHANGE")]
    brain.cycle()
    now_told = [a["symbol"] for a in brain.alerts("UNAUTHORIZED_POSITION_CHANGE")]
    assert (told, now_told) == (["ETHUSDT"], ["ETHUSDT", BTC])


def test_a_stop_that_did_not_fire_explains_nothing(brain: Brain) -> None:
    _with_stop(brain)
    brain.exchange.hold(BTC, "0", "0")
    brain.cycle(2)
    assert len(brain.alerts("UNAUTHORIZED_POSITION_CHANGE")) == 1


def test_a_refused_placement_is_asked_for_with_pauses_and_told_after_the_third(
    brain: Brain,
) -> None:
    brain.exchange.hold(BTC, "1", "100")
    for _ in range(20):
        brain.cycle()
        if brain.intents and brain.redis.xlen(keys.APPLY_RESULT) != len(brain.intents):
            brain.answer(brain.intents[-1], error="binance_error:-2019:Margin is insufficient.")
    assert 4 <= len(_asked(brain, PLACE)) <= 6
    (alert,) = brain.alerts("UNPROTECTED_POSITION")
    assert "exchange" in alert["why"]


def test_a_stop_that_could_never_fire_is_not_asked_for_and_told_once(brain: Brain) -> None:
    brain.policy({"default": {"stop_loss_pct": "99", "exchange_stop_margin_pct": "1"}})
    brain.exchange.hold(BTC, "2", "100")
    brain.exchange.hold("ETHUSDT", "-2", "100")  # above the price there is always room
    brain.cycle(5)
    brain.restart()
    brain.cycle(5)
    assert [intent.symbol for intent in _asked(brain, PLACE)] == ["ETHUSDT"]
    (alert,) = brain.alerts("UNPROTECTED_POSITION")
    assert alert["symbol"] == BTC
    assert "could never fire" in alert["last_error"]
    assert BTC in brain.heartbeat["exchange_stops_missing"]
    brain.policy({"default": {"stop_loss_pct": "99", "exchange_stop_margin_pct": "0.5"}})
    brain.cycle(2)
    assert _asked(brain, PLACE)[-1].trigger_price == Decimal("0.5")


def test_state_survives_and_nothing_is_placed_twice(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle()
    brain.restart()
    brain.cycle()
    _execute(brain, brain.intents[-1])
    brain.restart()
    brain.cycle(3)
    assert len(brain.intents) == 1


def test_both_sides_derive_the_same_client_id() -> None:
    assert client_id_of("BTCUSDT-1-xstop-1") == stop_client_id("BTCUSDT-1-xstop-1")
