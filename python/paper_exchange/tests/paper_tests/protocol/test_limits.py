"""Weights, order counts, and the ban of who does not listen."""

from __future__ import annotations

import re

import pytest

from paper_exchange.testing import PaperExchange

ORDER = {"symbol": "AVAXUSDT", "side": "BUY", "type": "MARKET", "quantity": "1"}


def used(exchange: PaperExchange, method: str, path: str, **params: object) -> int:
    """The weight that one request costs."""
    exchange.set_limits()
    answer = exchange.signed(method, path, **params)
    return int(answer.headers["x-mbx-used-weight-1m"])


@pytest.mark.parametrize(
    ("path", "params", "weight"),
    [
        ("/fapi/v1/time", {}, 1),
        ("/fapi/v1/premiumIndex", {"symbol": "BTCUSDT"}, 1),
        ("/fapi/v1/premiumIndex", {}, 10),
        ("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": 99}, 1),
        ("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": 499}, 2),
        ("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1m"}, 5),
        ("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": 1500}, 10),
        ("/fapi/v3/account", {}, 5),
        ("/fapi/v3/positionRisk", {}, 5),
        ("/fapi/v1/openOrders", {}, 40),
        ("/fapi/v1/openOrders", {"symbol": "BTCUSDT"}, 1),
        ("/fapi/v1/openAlgoOrders", {}, 40),
        ("/fapi/v1/positionSide/dual", {}, 30),
        ("/fapi/v1/userTrades", {"symbol": "BTCUSDT"}, 5),
    ],
)
def test_what_a_request_weighs(
    exchange: PaperExchange, path: str, params: dict[str, object], weight: int
) -> None:
    assert used(exchange, "GET", path, **params) == weight


def test_orders_cost_no_weight_and_are_counted(exchange: PaperExchange) -> None:
    exchange.signed("POST", "/fapi/v1/order", **ORDER)
    answer = exchange.signed("POST", "/fapi/v1/order", **{**ORDER, "quantity": "900000"})
    assert answer.status == 400
    assert answer.headers["x-mbx-used-weight-1m"] == "-1"
    assert int(answer.headers["x-mbx-order-count-1m"]) == 2


def test_too_many_requests_then_a_ban(exchange: PaperExchange) -> None:
    exchange.set_clock_offset(60_000 - exchange.now_ms() % 60_000)  # a fresh minute
    exchange.set_limits(weight_1m=3, strikes=2, ban_ms=90_000)
    answers = [exchange.public("/fapi/v1/time") for _ in range(6)]
    assert [a.status for a in answers if a.status != 200][:2] == [429, 418]
    last = answers[-1]
    assert last.status == 418
    assert isinstance(last.body, dict)
    assert last.body["code"] == -1003
    until = re.search(r"banned until (\d+)", last.body["msg"])
    assert until is not None
    assert 60_000 < int(until[1]) - exchange.now_ms() <= 90_000


def test_a_ban_ends_with_its_time(exchange: PaperExchange) -> None:
    exchange.ban(60_000)
    assert exchange.public("/fapi/v1/time").status == 418
    exchange.set_clock_offset(61_000)
    assert exchange.public("/fapi/v1/time").status == 200


def test_too_many_orders(exchange: PaperExchange) -> None:
    exchange.set_limits(orders_10s=2)
    exchange.set_clock_offset(10_000 - exchange.now_ms() % 10_000)  # a fresh window
    answers = [exchange.signed("POST", "/fapi/v1/order", **ORDER) for _ in range(3)]
    assert [a.status for a in answers] == [200, 200, 429]
    assert isinstance(answers[2].body, dict)
    assert answers[2].body["code"] == -1015
    assert exchange.position("AVAXUSDT") == 2
