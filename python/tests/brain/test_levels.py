"""Levels of take-profit: each is asked for until its share is filled, and no more."""

import json
from decimal import Decimal

from quantum_exit import keys
from quantum_exit.messages import ExitIntent, IntentAction

from ..exitctl.test_acl import rules_of
from .harness import OWNER, Brain

BTC = "BTCUSDT"


def test_a_level_closes_its_fraction_of_the_largest_size_once(brain: Brain) -> None:
    levels = [{"pct": 3, "fraction": "0.5"}, {"pct": 6, "fraction": "0.25"}]
    brain.policy({"default": {"stop_loss_pct": 2, "take_profits": levels}})
    brain.exchange.hold(BTC, "3", "100", mark="103")
    brain.cycle()
    (first,) = brain.intents
    assert first.action is IntentAction.PARTIAL_CLOSE
    assert (first.quantity, first.qty_fraction) == (Decimal("1.5"), Decimal("0.5"))
    brain.answer(first, filled="1.5")
    brain.exchange.hold(BTC, "1.5", "100", mark="106")
    brain.cycle(3)
    _, second = brain.intents
    assert second.quantity == Decimal("0.75")  # a quarter of 3


def _half_at_three(brain: Brain, amount: str) -> ExitIntent:
    """A level of a half is reached, and asked for."""
    levels = [{"pct": 3, "fraction": "0.5"}]
    brain.policy({"default": {"stop_loss_pct": 2, "take_profits": levels}})
    brain.exchange.hold(BTC, amount, "100", mark="103")
    brain.cycle()
    return brain.intents[-1]


def test_an_answer_without_the_executors_mark_frees_no_level(brain: Brain) -> None:
    """A plan that anybody sends in the owner's name is denied under the id it chose."""
    intent = _half_at_three(brain, "2")
    brain.result(
        f"exit-{intent.intent_id}",
        *(BTC, "SELL", "0"),
        error="SOURCE_UNVERIFIED:source=exitbrain_v3_5",
        decision="DENIED",
        plan_source=OWNER,
    )
    brain.cycle(55)
    assert len(brain.intents) == 1  # it may be on its way: a second would take the level twice
    brain.cycle(15)
    assert len(brain.intents) == 2  # by now it can no more
    brain.answer(brain.intents[-1], error="position_stale")
    brain.cycle(4)
    assert len(brain.intents) == 3


def test_a_forged_answer_beside_the_true_one_ends_no_level(brain: Brain) -> None:
    intent = _half_at_three(brain, "2")
    how = {"error": "quantity_below_step", "decision": "DENIED", "plan_source": OWNER}
    brain.result(f"exit-{intent.intent_id}", BTC, "SELL", "0", **how)
    brain.answer(intent, filled="0.4")
    brain.exchange.hold(BTC, "1.6", "100", mark="103")
    brain.cycle(3)
    assert [one.quantity for one in brain.intents] == [1, Decimal("0.6")]


def test_the_brains_own_redis_user_may_read_the_mark(brain: Brain) -> None:
    brain.redis.execute_command("ACL", "SETUSER", "exitbrain", "on", ">pw", *rules_of("exitbrain"))
    brain.url = brain.url.replace("//", "//exitbrain:pw@")
    brain.restart()
    brain.answer(_half_at_three(brain, "2"), error="position_stale")
    brain.cycle(4)
    brain.redis.execute_command("ACL", "DELUSER", "exitbrain")
    assert len(brain.intents) == 2


def test_what_a_level_did_not_fill_is_asked_for_again_and_no_more(brain: Brain) -> None:
    first = _half_at_three(brain, "3")
    assert first.quantity == Decimal("1.5")
    brain.answer(first, filled="0.4")
    brain.exchange.hold(BTC, "2.6", "100", mark="103")
    brain.cycle(2)
    brain.restart()
    brain.cycle(2)
    _, second = brain.intents
    assert second.action is IntentAction.PARTIAL_CLOSE
    assert second.quantity == Decimal("1.1")
    brain.answer(second, filled="1.1")
    brain.exchange.hold(BTC, "1.5", "100", mark="103")
    brain.cycle(60)
    assert len(brain.intents) == 2


def test_what_is_left_of_a_level_waits_for_its_price(brain: Brain) -> None:
    brain.answer(_half_at_three(brain, "2"), filled="0.4")
    brain.exchange.hold(BTC, "1.6", "100", mark="102")
    brain.cycle(5)
    assert len(brain.intents) == 1
    brain.price(BTC, "103")
    brain.cycle()
    assert brain.intents[-1].quantity == Decimal("0.6")


def test_what_rounding_left_of_a_level_is_given_up(brain: Brain) -> None:
    brain.answer(_half_at_three(brain, "0.005"), filled="0.002")
    brain.exchange.hold(BTC, "0.003", "100", mark="103")
    brain.cycle(2)
    assert brain.intents[-1].quantity == Decimal("0.0005")
    brain.answer(brain.intents[-1], error="quantity_below_step")
    brain.cycle(60)
    assert len(brain.intents) == 2
    assert brain.alerts("UNPROTECTED_POSITION") == []


def test_a_level_is_not_asked_for_again_while_an_order_may_be_on_its_way(brain: Brain) -> None:
    first = _half_at_three(brain, "2")
    brain.redis.hset(keys.EXECUTOR_OPEN, "grant", json.dumps({"symbol": BTC}))
    brain.cycle(100)
    assert len(brain.intents) == 1  # its outcome is unknown for longer than it lives
    brain.redis.delete(keys.EXECUTOR_OPEN)
    brain.answer(first, filled="0.7")
    brain.exchange.hold(BTC, "1.3", "100", mark="103")
    brain.cycle(3)
    assert [intent.quantity for intent in brain.intents] == [1, Decimal("0.3")]


def test_a_late_fill_beside_a_second_intent_is_counted_and_asks_for_no_third(
    brain: Brain,
) -> None:
    first = _half_at_three(brain, "2")
    brain.cycle(every_s=63)
    brain.cycle(2)
    assert len(brain.intents) == 2
    brain.answer(first, filled="0.4")
    brain.exchange.hold(BTC, "1.6", "100", mark="103")
    brain.cycle(5)
    assert len(brain.intents) == 2
    brain.answer(brain.intents[1], error="position_stale")
    brain.cycle(5)
    assert brain.intents[-1].quantity == Decimal("0.6")


def test_a_share_that_shrank_below_what_was_filled_is_done(brain: Brain) -> None:
    brain.answer(_half_at_three(brain, "2"), filled="0.6")
    brain.exchange.hold(BTC, "1.4", "100", mark="102")
    brain.cycle()
    levels = [{"pct": 3, "fraction": "0.3"}]
    brain.policy({"default": {"stop_loss_pct": 2, "take_profits": levels}})
    brain.price(BTC, "103")
    brain.cycle(5)
    assert len(brain.intents) == 1


def test_a_level_that_rounds_to_nothing_is_left_alone(brain: Brain) -> None:
    levels = [{"pct": 3, "fraction": "0.5"}]
    brain.policy({"default": {"stop_loss_pct": 2, "take_profits": levels}})
    brain.exchange.hold(BTC, "0.001", "100", mark="103")
    brain.cycle()
    brain.answer(brain.intents[0], error="quantity_below_step")
    brain.cycle(60)
    assert len(brain.intents) == 1
    assert brain.alerts("UNPROTECTED_POSITION") == []


def test_no_level_is_taken_while_the_whole_is_being_closed(brain: Brain) -> None:
    levels = [{"pct": 3, "fraction": "0.5"}]
    brain.policy({"default": {"stop_loss_pct": 2, "take_profits": levels}})
    brain.exchange.hold(BTC, "2", "100", mark="97")
    brain.cycle()
    brain.price(BTC, "104")
    brain.cycle(3)
    assert [intent.action for intent in brain.intents] == [IntentAction.FULL_CLOSE]


def test_a_level_that_filled_twice_counts_once(brain: Brain) -> None:
    levels = [{"pct": 3, "fraction": "0.3"}, {"pct": 6, "fraction": "0.4"}]
    brain.policy({"default": {"stop_loss_pct": 2, "take_profits": levels}})
    brain.exchange.hold(BTC, "10", "100", mark="103")
    brain.cycle()
    brain.cycle(every_s=63)
    brain.cycle(2)
    first, second = brain.intents
    brain.answer(first, filled="3")
    brain.exchange.hold(BTC, "7", "100", mark="103")
    brain.cycle()
    brain.answer(second, filled="3")
    brain.exchange.hold(BTC, "4", "100", mark="103")
    brain.cycle()
    brain.exchange.hold(BTC, "5", "100", mark="106")
    brain.cycle(3)
    assert brain.intents[-1].action is IntentAction.PARTIAL_CLOSE  # not the last of the levels
    assert brain.intents[-1].quantity == 4
