"""python-binance, a real client, against the exchange: its eyes find what ours overlook."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from paper_exchange.testing import PaperExchange

client_module = pytest.importorskip("binance.client")
exceptions = pytest.importorskip("binance.exceptions")


@pytest.fixture
def client(exchange: PaperExchange) -> Iterator[Any]:
    made = client_module.Client(exchange.api_key, exchange.secret_key, ping=False)
    made.FUTURES_URL = f"{exchange.base_url}/fapi"
    made.session.trust_env = False
    yield made
    made.close_connection()


def code_of(call: Callable[..., object], **params: object) -> int:
    with pytest.raises(exceptions.BinanceAPIException) as error:
        call(**params)
    return int(error.value.code)


def test_market_data(client: Any) -> None:
    assert client.futures_ping() == {}
    assert client.futures_time()["serverTime"] > 0
    assert {s["symbol"] for s in client.futures_exchange_info()["symbols"]} >= {"BTCUSDT"}
    assert Decimal(client.futures_mark_price(symbol="BTCUSDT")["markPrice"]) == 60_000
    assert client.futures_klines(symbol="BTCUSDT", interval="1m", limit=1)


def test_trading(client: Any, exchange: PaperExchange) -> None:
    bought = client.futures_create_order(
        symbol="AVAXUSDT", side="BUY", type="MARKET", quantity=10, newOrderRespType="RESULT"
    )
    assert bought["status"] == "FILLED"
    [position] = client.futures_position_information(symbol="AVAXUSDT")
    assert Decimal(position["positionAmt"]) == 10
    sold = client.futures_create_order(
        symbol="AVAXUSDT",
        side="SELL",
        type="MARKET",
        quantity=99,
        reduceOnly="true",
        newOrderRespType="RESULT",
    )
    assert sold["executedQty"] == "10"
    assert client.futures_get_order(symbol="AVAXUSDT", orderId=sold["orderId"])["reduceOnly"]
    trades = client.futures_account_trades(symbol="AVAXUSDT")
    assert [t["side"] for t in trades] == ["BUY", "SELL"]
    assert exchange.position("AVAXUSDT") == 0


def test_account(client: Any) -> None:
    balance = {row["asset"]: row for row in client.futures_account_balance()}
    assert Decimal(balance["USDT"]["balance"]) == 10_000
    account = client.futures_account()
    assert Decimal(account["totalWalletBalance"]) == 10_000
    assert client.futures_change_leverage(symbol="AVAXUSDT", leverage=5)["leverage"] == 5
    assert client.futures_get_position_mode() == {"dualSidePosition": False}


def test_conditional_orders(client: Any, exchange: PaperExchange) -> None:
    exchange.set_position("AVAXUSDT", 5)
    placed = client.futures_create_algo_order(
        symbol="AVAXUSDT",
        side="SELL",
        type="STOP_MARKET",
        triggerPrice="28.000",
        closePosition="true",
    )
    assert placed["algoStatus"] == "NEW"
    assert len(client.futures_get_open_algo_orders(symbol="AVAXUSDT")) == 1
    client.futures_cancel_algo_order(symbol="AVAXUSDT", algoId=placed["algoId"])
    assert exchange.state()["open_algos"] == []


def test_its_errors(client: Any, exchange: PaperExchange) -> None:
    order = {"symbol": "AVAXUSDT", "side": "SELL", "type": "MARKET", "quantity": 5}
    create = client.futures_create_order
    assert code_of(create, **order, reduceOnly="true") == -2022
    assert code_of(create, **{**order, "quantity": 10_000}) == -2019
    assert code_of(create, **{**order, "quantity": 1.5}) == -1111
    assert code_of(create, **{**order, "symbol": "NOSUCH"}) == -1121
    assert code_of(client.futures_get_order, symbol="AVAXUSDT", orderId=1) == -2013
    assert code_of(client.futures_cancel_order, symbol="AVAXUSDT", orderId=1) == -2011
    client.API_SECRET = "wrong"
    assert code_of(client.futures_account_balance) == -1022
    exchange.add_fault(answer="503_unknown")
    with pytest.raises(exceptions.BinanceAPIException) as error:
        create(**order)
    assert error.value.status_code == 503
