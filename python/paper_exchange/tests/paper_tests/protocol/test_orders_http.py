"""Orders over the wire: parameters, answers, queries, other actors."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from paper_exchange.testing import PaperExchange

ORDER = "/fapi/v1/order"


def send(exchange: PaperExchange, status: int = 200, **params: object) -> dict[str, Any]:
    base = {"symbol": "AVAXUSDT", "side": "BUY", "type": "MARKET", "quantity": "5"}
    chosen = {k: v for k, v in {**base, **params}.items() if v is not None}
    answer = exchange.signed("POST", ORDER, **chosen)
    assert answer.status == status, answer.body
    assert isinstance(answer.body, dict)
    return answer.body


def test_result_and_ack(exchange: PaperExchange) -> None:
    result = send(exchange, newOrderRespType="RESULT")
    assert (result["status"], result["executedQty"]) == ("FILLED", "5")
    assert Decimal(result["avgPrice"]) == 30
    assert Decimal(result["cumQuote"]) == 150
    ack = send(exchange, newClientOrderId="second")
    assert (ack["status"], ack["executedQty"], Decimal(ack["avgPrice"])) == ("NEW", "0", 0)
    query = exchange.signed("GET", ORDER, symbol="AVAXUSDT", origClientOrderId="second").body
    assert isinstance(query, dict)
    assert query["status"] == "FILLED"
    assert query["orderId"] == ack["orderId"]
    assert exchange.position("AVAXUSDT") == 10


def test_averages_can_be_left_out_of_the_answer(exchange: PaperExchange) -> None:
    exchange.set_post_averages(False)
    result = send(exchange, newOrderRespType="RESULT", newClientOrderId="lean")
    assert not {"avgPrice", "cumQuote"} & set(result)
    query = exchange.signed("GET", ORDER, symbol="AVAXUSDT", origClientOrderId="lean").body
    assert isinstance(query, dict)
    assert {"avgPrice", "cumQuote"} <= set(query)


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"symbol": None}, -1102),
        ({"symbol": "NOSUCH"}, -1121),
        ({"side": "HOLD"}, -1117),
        ({"type": "ICEBERG"}, -1116),
        ({"quantity": None}, -1102),
        ({"quantity": "1E1"}, -1100),
        ({"quantity": "-5"}, -1100),
        ({"quantity": "0"}, -4003),
        ({"type": "STOP_MARKET", "stopPrice": "20"}, -4120),
        ({"type": "TRAILING_STOP_MARKET"}, -4120),
        ({"positionSide": "LONG"}, -4061),
        ({"price": "30"}, -1106),
        ({"timeInForce": "GTC"}, -1106),
        ({"type": "LIMIT", "timeInForce": "GTC"}, -1102),
        ({"type": "LIMIT", "price": "30.000"}, -1102),
        ({"type": "LIMIT", "price": "30.000", "timeInForce": "NOW"}, -1115),
        ({"newClientOrderId": "with blank"}, -4015),
        ({"newClientOrderId": "x" * 37}, -4015),
        ({"newOrderRespType": "LOUD"}, -1136),
        ({"selfTradePreventionMode": "NONE"}, -5039),
        ({"reduceOnly": "yes"}, -1130),
        ({"reduceOnly": "true"}, -2022),
        ({"closePosition": "true"}, -4136),
    ],
)
def test_what_is_refused(exchange: PaperExchange, params: dict[str, str | None], code: int) -> None:
    assert send(exchange, status=400, **params)["code"] == code
    assert exchange.fills() == []
    [record] = exchange.orders()
    assert (record.outcome, record.code) == ("refused", code)


def test_a_repeat_of_an_id_after_the_fill_fills_twice(exchange: PaperExchange) -> None:
    """The trap of the real exchange: an id protects only while its order is open."""
    first = send(exchange, newClientOrderId="same")
    second = send(exchange, newClientOrderId="same")
    assert first["orderId"] != second["orderId"]
    assert exchange.position("AVAXUSDT") == 10


def test_a_repeat_of_an_id_while_its_order_rests(exchange: PaperExchange) -> None:
    resting = {"type": "LIMIT", "price": "29.000", "timeInForce": "GTC"}
    send(exchange, newClientOrderId="same", **resting)
    assert send(exchange, status=400, newClientOrderId="same")["code"] == -4116
    cancelled = exchange.signed("DELETE", ORDER, symbol="AVAXUSDT", origClientOrderId="same").body
    assert isinstance(cancelled, dict)
    assert cancelled["status"] == "CANCELED"
    again = exchange.signed("DELETE", ORDER, symbol="AVAXUSDT", origClientOrderId="same")
    assert again.body == {"code": -2011, "msg": "Unknown order sent."}


def test_queries_of_what_does_not_exist(exchange: PaperExchange) -> None:
    missing = exchange.signed("GET", ORDER, symbol="AVAXUSDT", origClientOrderId="none")
    assert (missing.status, missing.body) == (
        400,
        {"code": -2013, "msg": "Order does not exist."},
    )
    other = send(exchange)
    elsewhere = exchange.signed("GET", ORDER, symbol="BTCUSDT", orderId=other["orderId"])
    assert elsewhere.status == 400
    neither = exchange.signed("GET", ORDER, symbol="AVAXUSDT").body
    assert isinstance(neither, dict)
    assert neither["code"] == -1102
    filled = exchange.signed(
        "GET", "/fapi/v1/openOrder", symbol="AVAXUSDT", orderId=other["orderId"]
    )
    assert filled.status == 400


def test_the_test_endpoint_checks_and_does_nothing(exchange: PaperExchange) -> None:
    params = {"symbol": "AVAXUSDT", "side": "BUY", "type": "MARKET"}
    assert exchange.signed("POST", f"{ORDER}/test", quantity="5", **params).status == 200
    refused = exchange.signed("POST", f"{ORDER}/test", quantity="100000", **params).body
    assert isinstance(refused, dict)
    assert refused["code"] == -4005
    assert exchange.fills() == []


def test_lists_of_orders_and_trades(exchange: PaperExchange) -> None:
    order = send(exchange, newOrderRespType="RESULT")
    send(exchange, type="LIMIT", price="29.000", timeInForce="GTC", newClientOrderId="rests")
    send(exchange, symbol="ETHUSDT", quantity="0.100")
    [resting] = _list(exchange, "/fapi/v1/openOrders", symbol="AVAXUSDT")
    assert resting["clientOrderId"] == "rests"
    everything = _list(exchange, "/fapi/v1/allOrders", symbol="AVAXUSDT")
    assert [row["orderId"] for row in everything] == [order["orderId"], resting["orderId"]]
    [trade] = _list(exchange, "/fapi/v1/userTrades", symbol="AVAXUSDT")
    assert trade["orderId"] == order["orderId"]
    assert Decimal(trade["commission"]) == Decimal("0.06")
    of_order = _list(exchange, "/fapi/v1/userTrades", symbol="AVAXUSDT", orderId=resting["orderId"])
    assert of_order == []
    assert _list(exchange, "/fapi/v1/userTrades", symbol="AVAXUSDT", fromId=trade["id"] + 1) == []


def _list(exchange: PaperExchange, path: str, **params: object) -> list[dict[str, Any]]:
    body = exchange.signed("GET", path, **params).body
    assert isinstance(body, list)
    return body


def test_positions_of_both_versions(exchange: PaperExchange) -> None:
    assert _list(exchange, "/fapi/v3/positionRisk") == []
    assert len(_list(exchange, "/fapi/v2/positionRisk")) == 4
    send(exchange)
    exchange.set_price("AVAXUSDT", "29.5")
    [position] = _list(exchange, "/fapi/v3/positionRisk")
    assert position["positionAmt"] == "5"
    assert Decimal(position["unRealizedProfit"]) == Decimal("-2.5")
    assert "leverage" not in position
    [old] = _list(exchange, "/fapi/v2/positionRisk", symbol="AVAXUSDT")
    assert (old["leverage"], old["markPrice"]) == ("20", "29.50000000")


def test_what_another_actor_does_is_seen(exchange: PaperExchange) -> None:
    send(exchange)
    exchange.set_position("AVAXUSDT", 0, actor="liquidation")
    exchange.set_position("ETHUSDT", "-0.5")
    assert _list(exchange, "/fapi/v3/positionRisk")[0]["positionAmt"] == "-0.500"
    actors = [fill.actor for fill in exchange.fills()]
    assert actors == ["api", "liquidation", "hand"]
    assert len(exchange.orders()) == 1


def test_hedge_mode_takes_no_orders(exchange: PaperExchange) -> None:
    dual = "/fapi/v1/positionSide/dual"
    same = exchange.signed("POST", dual, dualSidePosition="false").body
    assert same == {"code": -4059, "msg": "No need to change position side."}
    assert exchange.signed("POST", dual, dualSidePosition="true").status == 200
    assert exchange.signed("GET", dual).body == {"dualSidePosition": True}
    assert send(exchange, status=400)["code"] == -4061


def test_partly_filled_for_want_of_sellers(exchange: PaperExchange) -> None:
    exchange.set_liquidity("AVAXUSDT", 3)
    result = send(exchange, newOrderRespType="RESULT")
    assert (result["status"], result["origQty"], result["executedQty"]) == ("EXPIRED", "5", "3")
