"""What the report makes of fills, times and logs: the pure part."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from quantum_exit.binance.model import Kline, Trade
from quantum_exit.exitctl.plain import columns, fit, plain, wrap
from quantum_exit.exitctl.report import proof_log, sections
from quantum_exit.exitctl.report.chart import candles_of
from quantum_exit.exitctl.report.episodes import sort_out
from quantum_exit.exitctl.report.fills import NOT_OURS, Fill, with_trades
from quantum_exit.exitctl.report.latency import latencies
from quantum_exit.exitctl.report.market import Market
from quantum_exit.exitctl.report.markup import tag
from quantum_exit.exitctl.top.bar import Levels, bar, room_pct
from quantum_exit.values import OrderSide, PositionSide

DAY_S = 1_700_000_000


def fill(at: int, side: str, qty: str, price: str | None = "100", order_id: str = "") -> Fill:
    known = Decimal(price) if price else None
    return Fill("BTCUSDT", DAY_S + at, OrderSide(side), Decimal(qty), known, "bot", "", order_id)


def trade(at: int, side: str, qty: str, price: str, order_id: int) -> Trade:
    zero = Decimal(0)
    numbers = (Decimal(price), Decimal(qty), zero, zero)
    return Trade("BTCUSDT", 1, order_id, side, *numbers, "USDT", zero, False, (DAY_S + at) * 1000)


def test_an_episode_ends_when_the_position_is_flat() -> None:
    fills = [
        fill(1, "BUY", "2", "100"),
        fill(2, "BUY", "2", "110"),
        fill(3, "SELL", "1", "120"),
        fill(4, "SELL", "3", "100"),
        fill(5, "SELL", "1"),
    ]
    found = sort_out(fills, {"BTCUSDT": Decimal(-1)}, [])
    (episode,) = found.closed
    assert (episode.side, episode.qty) == (PositionSide.LONG, 4)
    assert (episode.entry_price, episode.exit_price, episode.gain) == (105, 105, 0)
    assert found.still_open == ("BTCUSDT",)


def test_one_opened_before_the_period_has_no_time_of_its_opening() -> None:
    (episode,) = sort_out([fill(1, "BUY", "3", "90")], {}, []).closed
    assert episode.side is PositionSide.SHORT
    assert episode.opened_epoch is None
    assert episode.entry_price is None
    assert episode.gain is None


def test_a_fill_through_zero_ends_one_and_begins_the_next() -> None:
    fills = [fill(1, "BUY", "1"), fill(2, "SELL", "3"), fill(3, "BUY", "2")]
    closed = sort_out(fills, {}, []).closed
    assert [episode.side for episode in closed] == [PositionSide.LONG, PositionSide.SHORT]


def test_without_the_amount_of_now_nothing_is_guessed() -> None:
    found = sort_out([fill(1, "BUY", "1"), fill(2, "SELL", "1")], None, [])
    assert (found.closed, found.unclear) == ((), ("BTCUSDT",))


@given(st.lists(st.integers(-5, 5).filter(bool), max_size=12), st.integers(-5, 5))
def test_every_fill_is_in_its_place(amounts: list[int], before: int) -> None:
    """The amounts of closed episodes and what is left add up, whatever was filled."""
    fills = [
        fill(at, "BUY" if amount > 0 else "SELL", str(abs(amount)))
        for at, amount in enumerate(amounts)
    ]
    now = before + sum(amounts)
    found = sort_out(fills, {"BTCUSDT": Decimal(now)}, [])
    assert bool(found.still_open) == bool(now and fills)
    crossings = 0
    amount = before
    for step in amounts:
        crossings += amount * (amount + step) <= 0 and amount != 0
        amount += step
    assert len(found.closed) == crossings


def test_the_exchange_completes_what_no_result_told() -> None:
    own = [fill(1, "BUY", "2", None, "7"), fill(2, "SELL", "1", "99", "8")]
    told = [trade(1, "BUY", "1", "100", 7), trade(1, "BUY", "1", "102", 7)]
    told.append(trade(3, "SELL", "1", "98", 9))
    found = with_trades(own, {"BTCUSDT": told})
    assert [f.price for f in found] == [101, 99, 98]
    assert found[2].by == NOT_OURS


def kline(at: int, low: str, high: str) -> Kline:
    begin, zero = (DAY_S + at) * 1000, Decimal(0)
    prices = (Decimal(low), Decimal(high), Decimal(low), Decimal(high))
    return Kline(begin, *prices, zero, begin + 59_999)


def test_klines_that_contradict_the_fills_are_not_drawn() -> None:
    fills = [fill(10, "BUY", "1", "100"), fill(70, "SELL", "1", "95")]
    (episode,) = sort_out(fills, {}, []).closed
    candles, why = candles_of(episode, [kline(0, "99", "101"), kline(60, "94", "99")])
    assert (len(candles), why) == (2, "")
    candles, why = candles_of(episode, [kline(0, "99", "101"), kline(60, "200", "210")])
    assert candles == []
    assert "do not agree" in why
    assert candles_of(episode, [])[0] == []


def test_latencies_join_intent_plan_and_result() -> None:
    intents = [("1000-0", {"intent_id": "a"}), ("1000-1", {"intent_id": "b"})]
    plans = [("1004-0", {"plan_id": "exit-a"}), ("1010-0", {"plan_id": "x"})]
    results = [
        ("1030-0", {"plan_id": "exit-a", "executed": "true"}),
        ("1012-0", {"plan_id": "x", "executed": "false"}),
    ]
    found = {each.name: each.sample_ms for each in latencies(intents, plans, results)}
    assert found == {
        "exit: intent to plan": (4,),
        "exit: plan to result": (26,),
        "exit: intent to result": (30,),
        "refusal: plan to result": (2,),
    }


LOG = """================
EXIT BRAIN PROOF  2026-11-21 10:12:53 UTC
================
TEST 1: Service active  ✅ PASS
   evidence that says TEST 9: x  ❌ FAIL
TEST 2: Kill switch off  ❌ FAIL

FINAL VERDICT: ❌ FAIL (1/2)
EXIT BRAIN PROOF  2026-11-21 10:22:53 UTC
TEST 1: Service active  ⚠️ INFO
"""


def test_the_log_of_the_proofs_is_read_and_what_was_cut_off_left_out() -> None:
    (run,) = proof_log.parse(LOG)
    assert run.outcomes == {"Service active": "PASS", "Kill switch off": "FAIL"}
    assert run.verdict == "FAIL"
    cells = proof_log.in_buckets([run], "Kill switch off", run.at_epoch - 5, run.at_epoch + 5, 4)
    assert cells == ["", "", "FAIL", ""]


@given(st.text())
def test_text_of_others_is_never_markup(text: str) -> None:
    made = tag("p", text, title=text)
    assert made.count("<") == 2
    assert made.count('"') == 2
    assert all(character.isprintable() for character in made)


@given(st.text(max_size=60), st.integers(0, 30))
def test_a_line_is_as_wide_as_asked(text: str, wide: int) -> None:
    assert columns(fit(plain(text), wide)) == wide


@given(st.text(alphabet="ab 漢", max_size=60), st.integers(4, 30))
def test_wrapped_lines_fit(text: str, wide: int) -> None:
    lines = wrap(text, wide, 3)
    assert len(lines) <= 3
    assert all(columns(line) <= wide for line in lines)


def levels(price: str, *, is_long: bool = True) -> Levels:
    stop, target = ("98", "103") if is_long else ("102", "97")
    return Levels(Decimal(100), Decimal(price), Decimal(stop), Decimal(target), is_long)


def test_the_bar_shows_where_the_price_is() -> None:
    assert bar(levels("101"), 11) == "S...E+*...T"
    assert bar(levels("99"), 11) == "S.*-E.....T"
    assert bar(levels("98"), 11) == "*---E.....T"
    assert bar(levels("99", is_long=False), 11) == "T...*+E...S"
    assert bar(Levels(None, None, None, None, True), 5) == "     "
    assert room_pct(levels("98")) == 0
    assert room_pct(levels("97")) < 0
    assert room_pct(levels("101", is_long=False)) > 0


@given(*[st.none() | st.decimals("0.0001", "100000", allow_nan=False)] * 4, st.integers(0, 80))
def test_a_bar_of_anything_is_as_wide_as_asked(
    entry: Decimal | None,
    price: Decimal | None,
    stop: Decimal | None,
    target: Decimal | None,
    wide: int,
) -> None:
    assert len(bar(Levels(entry, price, stop, target, True), wide)) == wide


def test_a_page_has_an_end() -> None:
    """Thousands of positions are a page that no phone shows; it says what it left out."""
    fills = [fill(at, "SELL" if at % 2 else "BUY", "1") for at in range(1200)]
    sorted_out = sort_out(fills, {}, ())
    assert len(sorted_out.closed) == 600
    report = SimpleNamespace(positions=sorted_out, market=Market())
    page = sections.positions(cast("Any", report))
    assert "The newest 500 of 600" in page
    assert page.count('<tr role="row">') == 1 + 500
