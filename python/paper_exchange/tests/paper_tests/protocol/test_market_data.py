"""Prices, candles, rules, and the paths that are no more."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from paper_exchange.testing import PaperExchange


def get(exchange: PaperExchange, path: str) -> Any:
    answer = exchange.public(path)
    assert answer.status == 200, answer.body
    return answer.body


def test_exchange_info_ignores_a_symbol(exchange: PaperExchange) -> None:
    info = get(exchange, "/fapi/v1/exchangeInfo?symbol=NOSUCH")
    assert [s["symbol"] for s in info["symbols"]] == ["BTCUSDT", "ETHUSDT", "SOLUSDT", "AVAXUSDT"]
    kinds = {f["filterType"] for f in info["symbols"][0]["filters"]}
    assert "MARKET_LOT_SIZE" in kinds
    assert "MAX_NUM_ALGO_ORDERS" not in kinds


def test_mark_prices(exchange: PaperExchange) -> None:
    exchange.set_prices({"BTCUSDT": "61234.5", "ETHUSDT": 3100})
    one = get(exchange, "/fapi/v1/premiumIndex?symbol=BTCUSDT")
    assert one["markPrice"] == "61234.50000000"
    assert 0 < one["nextFundingTime"] - one["time"] <= 8 * 3_600_000
    every = get(exchange, "/fapi/v1/premiumIndex")
    assert {row["symbol"]: Decimal(row["markPrice"]) for row in every}["ETHUSDT"] == 3100


def test_candles_of_what_was_seen(exchange: PaperExchange) -> None:
    for price in ("31", "28", "29.5"):
        exchange.set_price("AVAXUSDT", price)
    rows = get(exchange, "/fapi/v1/klines?symbol=AVAXUSDT&interval=1h&limit=1")
    _, opened, high, low, close, *_rest = rows[-1]
    assert [Decimal(p) for p in (opened, high, low, close)] == [30, 31, 28, Decimal("29.5")]
    assert len(rows[-1]) == 12


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/fapi/v1/positionRisk", 400, -5000),
        ("/fapi/v1/nothing", 404, -5000),
        ("/api/v3/order", 404, -5000),
        ("/fapi/v1/premiumIndex?symbol=NOSUCH", 400, -1121),
        ("/fapi/v1/klines?symbol=BTCUSDT&interval=7m", 400, -1120),
        ("/fapi/v1/klines?symbol=BTCUSDT", 400, -1102),
    ],
)
def test_what_there_is_not(exchange: PaperExchange, path: str, status: int, code: int) -> None:
    answer = exchange.public(path)
    assert isinstance(answer.body, dict)
    assert (answer.status, answer.body["code"]) == (status, code)


def test_listen_keys_need_a_key_and_no_signature(exchange: PaperExchange) -> None:
    from paper_exchange.testing.transport import request

    path = "/fapi/v1/listenKey"
    headers = {"X-MBX-APIKEY": exchange.api_key}

    def ask(method: str, headers: dict[str, str]) -> tuple[int, Any]:
        answer = request(exchange.base_url, method, path, headers=headers)
        return answer.status, answer.body

    assert ask("POST", {})[0] == 401
    assert ask("PUT", headers)[1]["code"] == -1125
    status, body = ask("POST", headers)
    assert status == 200
    assert ask("POST", headers) == (200, body)
    assert ask("DELETE", headers) == (200, {})
    assert ask("PUT", headers)[1]["code"] == -1125
