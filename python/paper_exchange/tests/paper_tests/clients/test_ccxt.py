"""ccxt, the client with the strictest idea of what the exchange's answers mean."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from paper_exchange.testing import PaperExchange

ccxt = pytest.importorskip("ccxt")
SYMBOL = "AVAX/USDT:USDT"


class LocalClient(ccxt.binanceusdm):  # type: ignore[misc]  # ccxt is imported as it is found
    """Reads errors as if they came from the real host: ccxt chooses its table by the URL."""

    def get_exceptions_by_url(self, url: str, kind: str) -> Any:
        return super().get_exceptions_by_url(f"https://fapi.binance.com{urlsplit(url).path}", kind)


@pytest.fixture
def client(exchange: PaperExchange) -> Iterator[Any]:
    made = LocalClient(
        {
            "apiKey": exchange.api_key,
            "secret": exchange.secret_key,
            "enableRateLimit": False,
            "options": {
                "fetchMarkets": {"types": ["linear"]},
                "fetchCurrencies": False,
                "fetchMargins": False,
            },
        }
    )
    for name, url in made.urls["api"].items():
        if name.startswith("fapi"):
            made.urls["api"][name] = f"{exchange.base_url}/fapi/{url.rpartition('/')[2]}"
    made.session.trust_env = False
    yield made
    made.session.close()


def test_markets_balance_and_a_round_trip(client: Any, exchange: PaperExchange) -> None:
    market = client.load_markets()[SYMBOL]
    assert market["linear"]
    assert market["limits"]["cost"]["min"] == 5
    assert client.amount_to_precision(SYMBOL, 10.7) == "10"
    assert client.fetch_balance()["USDT"]["free"] == 10_000
    bought = client.create_order(SYMBOL, "market", "buy", 10, params={"clientOrderId": "in-1"})
    found = client.fetch_order(bought["id"], SYMBOL)
    assert (found["status"], found["filled"], found["average"]) == ("closed", 10, 30)
    [position] = client.fetch_positions([SYMBOL])
    assert (position["side"], position["contracts"], position["entryPrice"]) == ("long", 10, 30)
    client.create_order(SYMBOL, "market", "sell", 25, params={"reduceOnly": True})
    assert exchange.position("AVAXUSDT") == 0
    assert [t["side"] for t in client.fetch_my_trades(SYMBOL)] == ["buy", "sell"]


def test_its_errors(client: Any, exchange: PaperExchange) -> None:
    client.load_markets()
    sell = (SYMBOL, "market", "sell", 5)
    with pytest.raises(ccxt.InvalidOrder):
        client.create_order(*sell, params={"reduceOnly": True})
    with pytest.raises(ccxt.InsufficientFunds):
        client.create_order(SYMBOL, "market", "buy", 10_000)
    with pytest.raises(ccxt.OrderNotFound):
        client.fetch_order("1", SYMBOL)
    exchange.set_clock_offset(60_000)
    with pytest.raises(ccxt.InvalidNonce):
        client.fetch_balance()
    exchange.set_clock_offset(0)
    exchange.add_fault(path="/fapi/v1/order", answer="503_unknown", times=1)
    with pytest.raises(ccxt.ExchangeNotAvailable):
        client.create_order(*sell)
    exchange.add_fault(path="/fapi/v1/order", answer="429_weight", times=1)
    with pytest.raises(ccxt.DDoSProtection):
        client.create_order(*sell)
    exchange.add_fault(path="/fapi/v1/order", drop="after", times=1)
    with pytest.raises(ccxt.NetworkError):
        client.create_order(*sell)
    assert exchange.position("AVAXUSDT") == -5
    exchange.revoke_key(exchange.api_key)
    with pytest.raises(ccxt.AuthenticationError):
        client.fetch_balance()
