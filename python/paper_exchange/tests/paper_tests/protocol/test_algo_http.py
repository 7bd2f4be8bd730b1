"""Conditional orders over the wire."""

from __future__ import annotations

from typing import Any

import pytest

from paper_exchange.testing import PaperExchange

ALGO = "/fapi/v1/algoOrder"
STOP = {
    "algoType": "CONDITIONAL",
    "symbol": "AVAXUSDT",
    "side": "SELL",
    "type": "STOP_MARKET",
    "quantity": "5",
    "triggerPrice": "28.000",
    "reduceOnly": "true",
    "workingType": "MARK_PRICE",
}


def call(exchange: PaperExchange, method: str, path: str, status: int = 200, **params: Any) -> Any:
    answer = exchange.signed(method, path, **{k: v for k, v in params.items() if v is not None})
    assert answer.status == status, answer.body
    return answer.body


def test_a_stop_rests_triggers_and_closes(exchange: PaperExchange) -> None:
    exchange.set_position("AVAXUSDT", 5)
    placed = call(exchange, "POST", ALGO, clientAlgoId="stop-1", **STOP)
    assert placed["algoStatus"] == "NEW"
    [open_one] = call(exchange, "GET", "/fapi/v1/openAlgoOrders")
    assert open_one["clientAlgoId"] == "stop-1"
    assert call(exchange, "GET", "/fapi/v1/openOrders", symbol="AVAXUSDT") == []
    exchange.set_price("AVAXUSDT", "27.9")
    done = call(exchange, "GET", ALGO, clientAlgoId="stop-1")
    assert done["algoStatus"] == "FINISHED"
    order = call(
        exchange, "GET", "/fapi/v1/order", symbol="AVAXUSDT", orderId=done["actualOrderId"]
    )
    assert (order["status"], order["executedQty"]) == ("FILLED", "5")
    assert exchange.position("AVAXUSDT") == 0
    assert exchange.fills()[-1].actor == "algo"
    [record] = exchange.orders()
    assert (record.path, record.client_order_id, record.accepted) == (ALGO, "stop-1", True)


def test_cancel_by_either_id(exchange: PaperExchange) -> None:
    first = call(exchange, "POST", ALGO, **STOP)
    call(exchange, "POST", ALGO, clientAlgoId="two", **STOP)
    gone = call(exchange, "DELETE", ALGO, algoId=first["algoId"])
    assert (gone["code"], gone["msg"]) == ("200", "success")
    call(exchange, "DELETE", ALGO, clientAlgoId="two")
    assert call(exchange, "DELETE", ALGO, status=400, clientAlgoId="two")["code"] == -2011
    assert call(exchange, "DELETE", ALGO, status=400)["code"] == -1102


def test_all_of_a_symbol_are_cancelled_apart_from_plain_orders(exchange: PaperExchange) -> None:
    call(exchange, "POST", ALGO, **STOP)
    call(exchange, "DELETE", "/fapi/v1/allOpenOrders", symbol="AVAXUSDT")
    assert len(call(exchange, "GET", "/fapi/v1/openAlgoOrders")) == 1
    call(exchange, "DELETE", "/fapi/v1/algoOpenOrders", symbol="AVAXUSDT")
    assert call(exchange, "GET", "/fapi/v1/openAlgoOrders") == []
    [kept] = call(exchange, "GET", "/fapi/v1/allAlgoOrders", symbol="AVAXUSDT")
    assert kept["algoStatus"] == "CANCELED"


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"algoType": None}, -1102),
        ({"triggerPrice": None}, -1102),
        ({"triggerPrice": "28.00055"}, -1111),
        ({"triggerPrice": "31.000"}, -2021),
        ({"type": "MARKET"}, -1116),
        ({"type": "TRAILING_STOP_MARKET"}, -1116),
        ({"workingType": "LAST"}, -4031),
        ({"closePosition": "true"}, -1106),
        ({"closePosition": "true", "reduceOnly": None}, -4137),
        ({"clientAlgoId": "no blank"}, -4015),
        ({"closePosition": "true", "reduceOnly": None, "quantity": None}, -4509),
        ({"positionSide": "SHORT"}, -4061),
    ],
)
def test_what_is_refused(exchange: PaperExchange, params: dict[str, str | None], code: int) -> None:
    assert call(exchange, "POST", ALGO, status=400, **{**STOP, **params})["code"] == code
    assert exchange.state()["open_algos"] == []


def test_stops_remain_when_the_position_is_gone(exchange: PaperExchange) -> None:
    """Sweeping them is the client's matter."""
    exchange.set_position("AVAXUSDT", 5)
    call(exchange, "POST", ALGO, **STOP)
    exchange.set_position("AVAXUSDT", 0)
    assert len(exchange.state()["open_algos"]) == 1
