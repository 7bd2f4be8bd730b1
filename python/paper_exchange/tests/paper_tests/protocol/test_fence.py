"""An order signed at t is dead after t + recvWindow, wherever it waited."""

from __future__ import annotations

import threading

from paper_exchange.testing import Answer, PaperExchange

ORDER = {"symbol": "AVAXUSDT", "side": "BUY", "type": "MARKET", "quantity": "5"}


def test_an_order_that_waited_too_long_before_the_engine(exchange: PaperExchange) -> None:
    exchange.add_fault(path="/fapi/v1/order", method="POST", delay_before_ms=600, times=1)
    answer = exchange.signed("POST", "/fapi/v1/order", recvWindow=500, **ORDER)
    assert answer.status == 400
    assert answer.body == {
        "code": -5028,
        "msg": "Timestamp for this request is outside of the ME recvWindow.",
    }
    [record] = exchange.orders()
    assert (record.outcome, record.code) == ("refused", -5028)
    assert record.timestamp_ms is not None
    assert record.decided_ms is not None
    assert record.decided_ms - record.timestamp_ms > 500
    assert exchange.fills() == []


def test_the_same_order_within_its_window(exchange: PaperExchange) -> None:
    exchange.add_fault(path="/fapi/v1/order", method="POST", delay_before_ms=300, times=1)
    assert exchange.signed("POST", "/fapi/v1/order", recvWindow=2_000, **ORDER).status == 200


def test_a_late_reply_is_no_late_order(exchange: PaperExchange) -> None:
    exchange.add_fault(path="/fapi/v1/order", method="POST", delay_after_ms=600, times=1)
    assert exchange.signed("POST", "/fapi/v1/order", recvWindow=500, **ORDER).status == 200
    assert exchange.position("AVAXUSDT") == 5


def test_the_engine_goes_by_the_exchanges_own_clock(exchange: PaperExchange) -> None:
    """The clock is turned while the order waits: what counts is the time at the engine."""
    exchange.add_fault(path="/fapi/v1/order", method="POST", delay_before_ms=500, times=1)
    answers: list[Answer] = []
    sender = threading.Thread(
        target=lambda: answers.append(
            exchange.signed("POST", "/fapi/v1/order", recvWindow=5_000, **ORDER)
        )
    )
    sender.start()
    while not exchange.orders():
        pass
    exchange.set_clock_offset(10_000)
    sender.join()
    assert isinstance(answers[0].body, dict)
    assert answers[0].body["code"] == -5028


def test_cancels_and_reads_have_no_second_check(exchange: PaperExchange) -> None:
    exchange.add_fault(method="DELETE", delay_before_ms=600, times=1)
    answer = exchange.signed("DELETE", "/fapi/v1/allOpenOrders", recvWindow=500, symbol="AVAXUSDT")
    assert answer.status == 200
