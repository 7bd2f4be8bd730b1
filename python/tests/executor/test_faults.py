"""An exchange that loses, delays and refuses: one fill and one result a plan all the same."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest

from .harness import World, wait_for

ORDER = {"method": "POST", "path": "/fapi/v1/order"}


@pytest.mark.parametrize(
    "fault",
    [
        {"drop": "after"},
        {"answer": "503_unknown", "answer_when": "after"},
        {"answer": "408_timeout", "answer_when": "after"},
        {"answer": "400_message_bus", "answer_when": "after"},
        {"answer": "502_html", "answer_when": "after"},
        {"answer": {"status": 200, "body": "<html>"}, "answer_when": "after"},
        {"answer": "400_duplicate", "answer_when": "after"},
    ],
    ids=str,
)
def test_executed_and_the_answer_lost(world: World, fault: dict[str, object]) -> None:
    world.hold("BTCUSDT", "1")
    world.exchange.add_fault(**ORDER, times=1, **fault)
    plan = world.signed(qty="0.4")
    result = world.result(world.send(plan))
    assert (result["decision"], result["filled_qty"]) == ("EXECUTED", "0.4")
    assert len(world.orders()) == 1
    assert world.exchange.position("BTCUSDT") == Decimal("0.6")
    world.assert_settled([plan["plan_id"]])
    world.assert_fills_explain(world.results())


@pytest.mark.parametrize(
    "fault",
    [
        {"drop": "before"},
        {"answer": "503_unknown"},
        {"answer": "408_timeout"},
        {"answer": "504_html"},
    ],
    ids=str,
)
def test_not_executed_and_nobody_says_so(world: World, fault: dict[str, object]) -> None:
    """Absence is proven first: the second attempt comes after the fence of the first."""
    world.hold("BTCUSDT", "1")
    world.exchange.add_fault(**ORDER, times=1, **fault)
    plan = world.signed(qty="0.4")
    result = world.result(world.send(plan))
    assert (result["decision"], result["filled_qty"]) == ("EXECUTED", "0.4")
    first, second = world.orders()
    assert first.client_order_id != second.client_order_id
    assert first.timestamp_ms is not None
    assert second.arrived_ms > first.timestamp_ms + 1000
    assert second.accepted
    world.assert_settled([plan["plan_id"]])
    world.assert_fills_explain(world.results())


@pytest.mark.parametrize("answer", ["503_throttled", "503_unavailable", "503_internal"])
def test_shed_under_load_is_asked_again(world: World, answer: str) -> None:
    world.hold("BTCUSDT", "1")
    world.exchange.add_fault(**ORDER, times=2, answer=answer)
    assert world.outcome(world.signed(qty="0.4")) == ("EXECUTED", "")
    assert len(world.orders()) == 3
    assert len(world.our_fills()) == 1


def test_a_definite_refusal_is_final(world: World) -> None:
    world.hold("BTCUSDT", "1")
    for answer in ("400_engine_window", "401_key", "403_waf", "400_signature"):
        world.exchange.clear_faults()
        world.exchange.add_fault(**ORDER, answer=answer)
        seq = world.orders()[-1].seq if world.orders() else 0
        decision, error = world.outcome(world.signed(qty="0.1"))
        assert decision == "ERROR"
        assert error.startswith("binance_error:")
        assert len(world.orders(since=seq)) == 1


def test_a_late_answer_is_waited_for_and_an_unknown_one_looked_up(world: World) -> None:
    world.hold("BTCUSDT", "1")
    world.exchange.add_fault(**ORDER, times=1, delay_after_ms=700)
    assert world.outcome(world.signed(qty="0.4")) == ("EXECUTED", "")
    assert len(world.orders()) == 1


def test_other_symbols_go_on_while_an_outcome_is_unknown(world: World) -> None:
    world.hold("BTCUSDT", "1")
    world.hold("ETHUSDT", "1")
    world.exchange.add_fault(**ORDER, symbol="BTCUSDT", times=1, drop="after")
    rule = world.exchange.add_fault(
        method="GET", path="/fapi/v1/order", symbol="BTCUSDT", answer="502_html"
    )
    unknown = world.send(world.signed(qty="0.1"))
    behind = world.send(world.signed(qty="0.2"))
    wait_for(lambda: world.redis.hlen("quantum:executor:open") == 1, "an open grant")
    for _ in range(3):
        assert world.outcome(world.signed(symbol="ETHUSDT", qty="0.1")) == ("EXECUTED", "")
    assert not world.results_of(unknown)
    assert not world.results_of(behind)
    world.exchange.clear_faults(rule)
    assert world.result(unknown)["decision"] == "EXECUTED"
    assert world.result(behind)["decision"] == "EXECUTED"
    world.assert_fills_explain(world.results())


def test_a_look_up_that_hangs_delays_no_second_attempt(world: World) -> None:
    world.hold("BTCUSDT", "1")
    world.hold("ETHUSDT", "1")
    world.exchange.add_fault(**ORDER, symbol="BTCUSDT", times=1, drop="after")
    world.exchange.add_fault(
        method="GET", path="/fapi/v1/order", symbol="BTCUSDT", times=1, delay_before_ms=2_500
    )
    unknown = world.send(world.signed(qty="0.1"))
    wait_for(lambda: world.exchange.faults()[1]["hits"], "a look-up that hangs")
    world.exchange.add_fault(**ORDER, symbol="ETHUSDT", times=1, answer="503_throttled")
    began = time.monotonic()
    assert world.outcome(world.signed(symbol="ETHUSDT", qty="0.1")) == ("EXECUTED", "")
    assert time.monotonic() - began < 1.5
    assert world.result(unknown)["decision"] == "EXECUTED"


def test_a_partial_fill_is_reported_as_it_was(world: World) -> None:
    world.hold("BTCUSDT", "1")
    world.exchange.set_liquidity("BTCUSDT", "0.3")
    result = world.result(world.send(world.signed()))
    assert (result["decision"], result["filled_qty"]) == ("EXECUTED", "0.3")
    assert world.ledger("BTCUSDT")["position_amt"] == "-0.3"
    world.exchange.set_liquidity("BTCUSDT", "0")
    world.observe()
    decision, error = world.outcome(world.signed())
    assert decision == "ERROR"
    assert error.startswith("binance_error:")


def test_too_many_requests_are_followed_by_silence(world: World) -> None:
    """After a 429 nothing is sent for as long as it says; then exits go before entries."""
    for symbol in ("BTCUSDT", "ETHUSDT", "AVAXUSDT"):
        world.hold(symbol, "1")
    limited = {"status": 429, "body": {"code": -1003, "msg": "Too many requests"}}
    world.exchange.add_fault(**ORDER, times=1, answer={**limited, "headers": {"Retry-After": "1"}})
    first = world.signed(qty="0.1")
    world.send(first)
    wait_for(lambda: world.orders(), "the refused order")
    (refused,) = world.orders()
    entries = [world.opening(symbol="SOLUSDT", qty=str(n)) for n in (10, 11, 12)]
    # One a symbol: which of them comes first, and what comes behind one, is not said.
    exits = [world.signed(symbol=symbol, qty="1") for symbol in ("ETHUSDT", "AVAXUSDT")]
    for plan in (*entries, *exits):
        world.send(plan)
    world.assert_settled([p["plan_id"] for p in (first, *entries, *exits)])
    later = world.orders(since=refused.seq)
    assert all(order.arrived_at_s - refused.arrived_at_s > 0.95 for order in later)
    in_order = [order.params["symbol"] for order in later]
    assert set(in_order[:3]) == {"BTCUSDT", "ETHUSDT", "AVAXUSDT"}


def test_a_plan_that_waited_behind_another_is_judged_by_what_that_one_did(world: World) -> None:
    """When both were read the symbol was flat: by its turn the second one would reduce."""
    world.exchange.add_fault(**ORDER, symbol="SOLUSDT", times=1, delay_after_ms=300)
    first = world.opening(symbol="SOLUSDT", qty="10")
    second = world.opening(symbol="SOLUSDT", side="SELL", qty="10")
    for plan in (first, second):
        world.send(plan)
    assert world.result(first["plan_id"])["decision"] == "EXECUTED"
    assert world.result(second["plan_id"])["error"] == "NOT_EXIT_OWNER:source=intent_bridge"
    assert len(world.orders()) == 1


def test_no_entry_goes_before_the_exits_that_the_silence_held_up(world: World) -> None:
    """Not by a head start: however long such an exit takes, entries wait for its answer."""
    for symbol in ("BTCUSDT", "ETHUSDT"):
        world.hold(symbol, "1")
    headers = {"Retry-After": "1"}
    limited = {"status": 429, "headers": headers, "body": {"code": -1003, "msg": "Too many"}}
    world.exchange.add_fault(**ORDER, times=1, answer=limited)
    first = world.signed(qty="0.1")
    world.send(first)
    wait_for(lambda: world.orders(), "the refused order")
    (refused,) = world.orders()
    world.exchange.add_fault(**ORDER, symbol="ETHUSDT", times=1, delay_after_ms=300)
    entries = [world.opening(symbol=s, qty="10") for s in ("SOLUSDT", "AVAXUSDT")]
    exits = [world.signed(symbol="ETHUSDT", qty=qty) for qty in ("0.7", "0.7", "0.7")]
    for plan in (*entries, *exits):
        world.send(plan)
    wait_for(lambda: len(world.results()) == 6, "all results")
    found = {fields["plan_id"]: fields for fields in world.results()}
    filled = [(found[p["plan_id"]]["filled_qty"], found[p["plan_id"]]["error"]) for p in exits]
    assert filled == [("0.7", ""), ("0.3", ""), ("0", "already_flat")]
    held_up, *_ = [o for o in world.orders(refused.seq) if o.params["symbol"] == "ETHUSDT"]
    opened = [o for o in world.orders(refused.seq) if o.params["symbol"] in ("SOLUSDT", "AVAXUSDT")]
    assert len(opened) == 2
    assert all(order.arrived_at_s > held_up.arrived_at_s + 0.3 for order in opened)


def test_a_ban_is_obeyed(world: World) -> None:
    world.hold("BTCUSDT", "1")
    world.exchange.add_fault(
        **ORDER,
        times=1,
        answer={
            "status": 418,
            "body": {"code": -1003, "msg": "Way too many requests"},
            "headers": {"Retry-After": "1"},
        },
    )
    began = time.monotonic()
    assert world.outcome(world.signed(qty="0.1")) == ("EXECUTED", "")
    assert time.monotonic() - began > 0.9
    banned, sent = world.orders()
    assert sent.arrived_at_s - banned.arrived_at_s > 0.95


def test_an_exchange_that_is_gone_and_comes_back(world: World) -> None:
    world.hold("BTCUSDT", "1")
    executor = world.executors[0]
    world.exchange.add_fault(path="/fapi/*", answer="502_html")
    wait_for(lambda: executor.beat().get("ready") == "false", "not ready")
    assert "exchange" in executor.beat()["status"]
    plan_id = world.send(world.signed(qty="0.1"))
    time.sleep(0.2)
    assert not world.results_of(plan_id)
    world.exchange.clear_faults()
    executor.wait_ready()
    assert world.result(plan_id)["decision"] == "EXECUTED"


def test_prices_that_cannot_be_read_stop_no_exit(world: World) -> None:
    world.hold("BTCUSDT", "1")
    world.exchange.add_fault(path="/fapi/v1/premiumIndex", answer="502_html")
    wait_for(lambda: world.exchange.faults()[0]["hits"] >= 2, "prices not read")
    assert world.executors[0].is_ready()
    assert world.outcome(world.signed(qty="0.1")) == ("EXECUTED", "")


def test_a_clock_that_is_set_is_read_again(world: World) -> None:
    world.hold("BTCUSDT", "1")
    try:
        world.exchange.set_clock_offset(-30_000)
        decision, error = world.outcome(world.signed(qty="0.1"))
        assert (decision, error[:20]) == ("ERROR", "binance_error:-1021:")
        wait_for(
            lambda: world.outcome(world.signed(qty="0.1")) == ("EXECUTED", ""),
            "orders again with the new clock",
            20,
        )
    finally:
        world.exchange.set_clock_offset(0)
