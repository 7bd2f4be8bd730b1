"""When it must not act and what it says then; unwatched positions; no policy."""

import re
from collections.abc import Callable

from quantum_exit import keys
from quantum_exit.binance.clock import ExchangeClock
from quantum_exit.binance.errors import ExchangeError, ExchangeUnreachable

from .harness import Brain

BTC = "BTCUSDT"


def test_as_many_calls_for_many_positions_as_for_one(brain: Brain) -> None:
    brain.cycle()
    brain.exchange.calls.clear()
    for number in range(50):
        brain.exchange.hold(f"SYM{number}USDT", "1", "100")
    brain.cycle()
    assert sorted(brain.exchange.calls) == ["positions"]


def test_an_exchange_error_means_not_ready_and_no_intent_until_it_is_over(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle()
    brain.exchange.error = ExchangeUnreachable("refused", "GET /fapi/v3/positionRisk")
    brain.price(BTC, "95")
    brain.cycle(3)
    assert brain.heartbeat["ready"] == "false"
    assert "refused" in brain.heartbeat["status"]
    assert brain.intents == []
    brain.exchange.error = None
    brain.cycle()
    assert brain.heartbeat["ready"] == "true"
    assert len(brain.intents) == 1


def test_rejected_credentials_raise_one_alert(brain: Brain) -> None:
    brain.exchange.error = ExchangeError(401, -2015, "Invalid API-key")
    brain.cycle(3)
    assert len(brain.alerts("CREDENTIALS_REJECTED")) == 1


def test_a_clock_off_by_more_than_the_window_is_told_with_its_size(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100", mark="95")
    brain.exchange.ahead_ms = 3_000
    brain.cycle()
    assert re.search("clock off by (2999|3000) ms", brain.heartbeat["status"])
    assert brain.intents == []
    brain.exchange.ahead_ms = 0
    brain.cycle()
    assert len(brain.intents) == 1


def test_a_clock_that_cannot_be_read_again_stops_nothing_while_the_last_reading_holds(
    brain: Brain,
) -> None:
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle()
    brain.exchange.failing["sync_clock 2"] = ExchangeUnreachable("refused")
    brain.cycle(20)
    assert brain.heartbeat["ready"] == "true"
    brain.price(BTC, "95")
    brain.cycle()
    assert len(brain.intents) == 1
    brain.exchange.clock = ExchangeClock(fresh_for_s=0)  # nothing is known of it any more
    brain.cycle()
    assert "refused" in brain.heartbeat["status"]


def test_hedge_mode_is_not_ready(brain: Brain) -> None:
    brain.exchange.hedge = True
    brain.exchange.hold(BTC, "1", "100", mark="95")
    brain.cycle()
    assert "hedge mode" in brain.heartbeat["status"]
    assert brain.intents == []


def test_a_position_with_a_side_of_its_own_means_hedge_mode(brain: Brain) -> None:
    brain.cycle()
    brain.exchange.hold(BTC, "1", "100", mark="95", side="LONG")
    brain.cycle()
    assert "hedge mode" in brain.heartbeat["status"]
    assert brain.intents == []


def test_a_position_unwatched_for_five_seconds_is_told_and_measured(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle()
    brain.exchange.error = ExchangeUnreachable("refused")
    brain.cycle(10)
    (alert,) = brain.alerts("UNPROTECTED_POSITION")
    assert alert["symbol"] == BTC
    assert alert["severity"] == "CRITICAL"
    assert brain.heartbeat["unprotected"] == BTC
    assert float(brain.heartbeat["unprotected_now_s"]) == 10
    brain.exchange.error = None
    brain.cycle()
    # One second from its opening to the first look, eleven from that to the next.
    assert round(float(brain.heartbeat["unprotected_total_s"])) == 12
    assert brain.heartbeat["unprotected"] == ""


def test_a_long_pause_between_two_cycles_is_no_hanging(make_brain: Callable[..., Brain]) -> None:
    brain = make_brain(EXIT_BRAIN_CYCLE_S="60")
    brain.cycle()
    brain.clock.advance(60)
    assert brain.heartbeat["ready"] == "true"
    brain.clock.advance(21)
    assert "has hung" in brain.heartbeat["status"]


def test_the_time_without_a_brain_counts_too(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle()
    brain.clock.advance(20)
    brain.restart()
    brain.cycle()
    (alert,) = brain.alerts("UNPROTECTED_POSITION")
    assert alert["ended"]
    assert alert["seconds"] == 21


def test_the_first_start_on_an_old_position_measures_and_raises_no_alert(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100")
    brain.clock.advance(100)
    brain.cycle()
    assert brain.alerts("UNPROTECTED_POSITION") == []
    assert float(brain.heartbeat["unprotected_total_s"]) > 100


def test_a_position_without_any_price_is_unprotected(brain: Brain) -> None:
    brain.cycle()
    brain.exchange.hold(BTC, "1", "100", mark="0")
    brain.cycle(7)
    assert brain.heartbeat["unpriced"] == BTC
    assert len(brain.alerts("UNPROTECTED_POSITION")) == 1


def test_a_position_that_cannot_be_read_is_held_and_the_others_go_on(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100")
    brain.exchange.hold("ETHUSDT", "1", "100")
    brain.cycle()
    brain.exchange.unreadable = {BTC}
    brain.price(BTC, "90")
    brain.price("ETHUSDT", "90")
    brain.cycle(7)
    assert [intent.symbol for intent in brain.intents] == ["ETHUSDT"]
    beat = brain.heartbeat
    assert (beat["ready"], beat["unreadable"], beat["unprotected"]) == ("true", BTC, BTC)
    assert f"degraded: cannot be read, and held: {BTC}" in beat["status"]
    (alert,) = brain.alerts("UNPROTECTED_POSITION")
    assert (alert["symbol"], alert["ended"]) == (BTC, False)
    assert "cannot be read" in alert["why"]
    brain.restart()
    brain.cycle(2)
    brain.exchange.unreadable = set()
    brain.cycle()
    assert brain.intents[-1].symbol == BTC
    assert brain.alerts("UNAUTHORIZED_POSITION_CHANGE") == []


def test_a_position_that_cannot_be_read_is_not_flat(make_brain: Callable[..., Brain]) -> None:
    """Neither for its stop on the exchange, nor for what trails, nor for who changed it."""
    brain = make_brain(EXIT_BRAIN_EXCHANGE_STOP="true")
    trailing = {"stop_loss_pct": 5, "trailing_start_pct": 2, "trailing_distance_pct": 1}
    brain.policy({"default": trailing})
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle()
    brain.answer(brain.intents[0], filled="0")
    brain.price(BTC, "110")
    brain.cycle()
    asked = len(brain.intents)
    brain.exchange.unreadable = {BTC}
    brain.price(BTC, "108")
    brain.cycle(10)
    assert len(brain.intents) == asked  # no stop is swept, moved or placed
    brain.exchange.unreadable = set()
    brain.cycle()
    assert brain.intents[-1].reason.startswith("TRAILING_STOP")
    assert brain.alerts("UNAUTHORIZED_POSITION_CHANGE") == []


def test_what_somebody_did_while_it_could_not_be_read_is_told_after(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle(2)
    brain.exchange.unreadable = {BTC, "ETHUSDT"}
    brain.exchange.hold(BTC, "0", "0")
    brain.exchange.hold("ETHUSDT", "3", "100")
    brain.result("open", "ETHUSDT", "BUY", "3")
    brain.cycle(5)
    assert brain.alerts("UNAUTHORIZED_POSITION_CHANGE") == []
    brain.exchange.unreadable = set()
    brain.cycle(3)
    (alert,) = brain.alerts("UNAUTHORIZED_POSITION_CHANGE")
    assert (alert["symbol"], alert["before"], alert["after"]) == (BTC, "1", "0")


def test_without_a_policy_the_last_valid_parameters_hold_and_that_is_told(brain: Brain) -> None:
    brain.policy({"default": {"stop_loss_pct": 10}})
    brain.exchange.hold(BTC, "1", "100", mark="95")
    brain.cycle()
    brain.redis.delete(keys.POLICY_CURRENT)
    brain.cycle(3)
    brain.restart()
    brain.cycle(3)
    assert brain.intents == []
    assert "last valid" in brain.heartbeat["policy"]
    assert len(brain.alerts("POLICY_STALE")) == 2  # one for each process
    brain.price(BTC, "90")
    brain.cycle()
    assert len(brain.intents) == 1


def test_where_no_policy_was_ever_valid_the_built_in_stop_holds(brain: Brain) -> None:
    brain.policy({"default": {"stop_loss_pct": 500}})
    brain.exchange.hold(BTC, "1", "100", mark="97")
    brain.cycle()
    assert len(brain.intents) == 1
    assert "stop_loss_pct" in brain.heartbeat["policy"]


def test_a_position_mode_that_cannot_be_asked_for_again_costs_no_exit(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle()
    brain.exchange.failing["dual_side"] = ExchangeError(503, -1001, "internal error")
    brain.price(BTC, "90")
    brain.cycle(every_s=61)
    assert len(brain.intents) == 1
    brain.exchange.hold("ETHUSDT", "1", "100", side="LONG")
    brain.cycle()
    assert "hedge mode" in brain.heartbeat["status"]
    brain.exchange.hold("ETHUSDT", "0", "0")
    brain.cycle()
    assert brain.heartbeat["ready"] == "false"  # it is not known to be switched back
