"""Layer 3: what is told as unexplained, and what is not."""

import json
from collections.abc import Callable
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from quantum_exit import keys
from quantum_exit.brain.watch import Sight, dump_book, load_book, watch

from .harness import Brain

BTC = "BTCUSDT"
KIND = "UNAUTHORIZED_POSITION_CHANGE"


def _grant(brain: Brain, symbol: str) -> None:
    brain.redis.hset(keys.EXECUTOR_OPEN, "v:someone:plan", json.dumps({"symbol": symbol}))


def test_a_position_closed_by_hand_is_told_within_two_cycles(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle(3)
    brain.exchange.hold(BTC, "0", "0")
    brain.cycle(2)
    (alert,) = brain.alerts(KIND)
    assert (alert["symbol"], alert["before"], alert["after"], alert["expected"]) == (
        *(BTC, "1", "0", "1"),
    )
    brain.cycle(5)
    assert len(brain.alerts(KIND)) == 1


def test_a_position_reduced_by_another_bot_is_told(brain: Brain) -> None:
    brain.exchange.hold(BTC, "-2", "100")
    brain.cycle(3)
    brain.exchange.hold(BTC, "-1.5", "100")
    brain.cycle(2)
    assert [(a["before"], a["after"]) for a in brain.alerts(KIND)] == [("-2", "-1.5")]


def test_a_position_opened_behind_our_back_is_told(brain: Brain) -> None:
    brain.cycle(2)
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle(2)
    assert [(a["before"], a["after"]) for a in brain.alerts(KIND)] == [("0", "1")]


def test_our_own_exit_is_explained_whichever_comes_first(brain: Brain) -> None:
    for symbol in ("AUSDT", "BUSDT"):
        brain.exchange.hold(symbol, "1", "100")
    brain.cycle(3)
    # One shows on the exchange while its grant is open, the other's result comes first.
    _grant(brain, "AUSDT")
    brain.exchange.hold("AUSDT", "0", "0")
    brain.result("exit-b", "BUSDT", "SELL", "1")
    brain.cycle(4)
    brain.redis.delete(keys.EXECUTOR_OPEN)
    brain.result("exit-a", "AUSDT", "SELL", "1")
    brain.exchange.hold("BUSDT", "0", "0")
    brain.cycle(4)
    assert brain.alerts(KIND) == []


def test_the_exchange_may_show_one_fill_and_not_yet_the_next(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle(3)
    brain.result("exit-a", BTC, "SELL", "0.3")
    brain.cycle()
    brain.result("exit-b", BTC, "SELL", "0.2")
    brain.exchange.hold(BTC, "0.7", "100")
    brain.cycle()
    brain.restart()
    brain.cycle(3)
    brain.exchange.hold(BTC, "0.5", "100")
    brain.cycle()
    assert brain.alerts(KIND) == []
    brain.exchange.hold(BTC, "0.7", "100")  # what has shown by now is no excuse any more
    brain.cycle(2)
    assert len(brain.alerts(KIND)) == 1


def test_an_opening_by_a_producers_plan_is_explained(brain: Brain) -> None:
    brain.cycle(2)
    brain.exchange.hold(BTC, "0.3", "100")
    brain.result("bridge-1", BTC, "BUY", "0.3")
    brain.cycle(5)
    assert brain.alerts(KIND) == []


def test_what_happened_while_the_brain_was_down_is_explained_by_results(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle(3)
    brain.result("bridge-1", BTC, "BUY", "1")
    brain.result("exit-1", BTC, "SELL", "0.5")
    brain.result("bridge-2", "ETHUSDT", "SELL", "2")
    brain.exchange.hold(BTC, "1.5", "100")
    brain.exchange.hold("ETHUSDT", "-2", "50")
    brain.restart()
    brain.cycle(5)
    assert brain.alerts(KIND) == []


def test_what_nobody_explains_is_told_after_a_restart_too(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle(3)
    brain.exchange.hold(BTC, "0", "0")
    brain.restart()
    brain.cycle(2)
    assert len(brain.alerts(KIND)) == 1


def test_a_restart_between_the_two_looks_delays_nothing(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle(3)
    brain.exchange.hold(BTC, "0", "0")
    brain.cycle()
    brain.restart()
    brain.cycle()
    assert len(brain.alerts(KIND)) == 1


def test_the_first_start_takes_what_stands_as_it_is(brain: Brain) -> None:
    brain.result("old", BTC, "BUY", "7")
    brain.exchange.hold(BTC, "1", "100")
    brain.exchange.hold("ETHUSDT", "-1", "100")
    brain.cycle(5)
    assert brain.alerts(KIND) == []


def test_the_first_start_in_the_middle_of_an_order_is_no_false_alarm(brain: Brain) -> None:
    _grant(brain, BTC)
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle(2)
    brain.exchange.hold(BTC, "0", "0")
    brain.redis.delete(keys.EXECUTOR_OPEN)
    brain.result("exit-1", BTC, "SELL", "1")
    brain.cycle(4)
    assert brain.alerts(KIND) == []


def test_a_denied_result_explains_nothing(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle(3)
    brain.result("bridge", BTC, "SELL", "0", decision="DENIED", error="NOT_EXIT_OWNER")
    brain.exchange.hold(BTC, "0", "0")
    brain.cycle(2)
    assert len(brain.alerts(KIND)) == 1


def test_a_fill_that_the_exchange_never_shows_is_told_in_the_end(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle(3)
    brain.result("exit-1", BTC, "SELL", "1")
    brain.cycle(8)
    assert brain.alerts(KIND) == []
    brain.cycle(6)
    assert len(brain.alerts(KIND)) == 1


def test_results_trimmed_away_meanwhile_are_no_false_alarm(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle()
    brain.result("bridge-1", BTC, "BUY", "1")
    brain.exchange.hold(BTC, "2", "100")
    brain.cycle(2)
    brain.result("bridge-2", BTC, "BUY", "1")
    brain.redis.xtrim(keys.APPLY_RESULT, maxlen=0, approximate=False)
    brain.exchange.hold(BTC, "3", "100")
    brain.restart()
    brain.cycle(5)
    assert brain.alerts(KIND) == []


def test_it_works_in_shadow_and_under_the_kill_switch(make_brain: Callable[..., Brain]) -> None:
    brain = make_brain(EXIT_EXECUTOR_MODE="SHADOW")
    brain.switch(active=True)
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle(3)
    brain.exchange.hold(BTC, "0", "0")
    brain.cycle(2)
    assert len(brain.alerts(KIND)) == 1


steps = st.lists(
    st.tuples(
        st.sampled_from(["fill", "foreign", "quiet"]),
        st.integers(-3, 3),
        st.integers(0, 2),  # cycles from the exchange showing it to its result
    ),
    max_size=12,
)


@settings(deadline=None)
@given(steps)
def test_own_fills_are_never_told_and_foreign_changes_always(
    story: list[tuple[str, int, int]],
) -> None:
    """Each step happens after the one before it has settled."""
    books, now, position = {}, 0.0, Decimal(0)
    told: list[Decimal] = []
    foreign: list[Decimal] = []

    def look(fill: int | None = None, *, granted: bool = False) -> None:
        nonlocal books, now
        now += 1
        sight = Sight(
            now_epoch=now,
            observed={BTC: position} if position else {},
            fills={BTC: Decimal(fill)} if fill else {},
            granted=frozenset({BTC} if granted else ()),
        )
        books, unexplained = watch(books, sight, first=now == 1)
        books = {symbol: load_book(dump_book(book)) for symbol, book in books.items()}
        told.extend(change.after for change in unexplained)

    look()
    for kind, size, lag in story:
        if kind == "fill" and size:
            position += size
            for _ in range(lag):
                look(granted=True)
            look(size)
        elif kind == "foreign" and size:
            position += size
            foreign.append(position)
            look()
        look()
    assert told == foreign
