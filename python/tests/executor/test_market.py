"""The executor's own view of the exchange, where the weight of all services runs short."""

from __future__ import annotations

import json
import threading
from decimal import Decimal
from typing import cast

from quantum_exit.binance.client import Client
from quantum_exit.binance.errors import ExchangeError
from quantum_exit.binance.fields import Malformed
from quantum_exit.binance.model import SymbolConfig, SymbolRules
from quantum_exit.binance.parse import exchange_rules
from quantum_exit.binance.rate import RateState
from quantum_exit.executor.market import MARK_STALE_S, Market, Refresher
from quantum_exit.values import Stale


class Scripted:
    def __init__(self) -> None:
        self.now = 10.0
        self.rate = RateState(lambda: self.now)

    def sync_clock(self, samples: int = 2) -> None: ...

    def dual_side(self) -> bool:
        return False

    def exchange_info(self) -> dict[str, SymbolRules]:
        return {}

    def symbol_configs(self) -> dict[str, SymbolConfig]:
        return {}

    def mark_prices(self) -> dict[str, Decimal]:
        return {"BTCUSDT": Decimal(100)}


def listed(symbol: str, step: str) -> dict[str, object]:
    lot = {"minQty": step, "maxQty": "1000", "stepSize": step}
    return {
        "symbol": symbol,
        "status": "TRADING",
        "quantityPrecision": 3,
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": "0.1"},
            {"filterType": "LOT_SIZE", **lot},
            {"filterType": "MARKET_LOT_SIZE", **lot},
            {"filterType": "MIN_NOTIONAL", "notional": "5"},
            {"filterType": "PERCENT_PRICE", "multiplierUp": "1.1", "multiplierDown": "0.9"},
        ],
    }


class Listing(Scripted):
    """Answers as the client does with what the exchange sends."""

    def __init__(self) -> None:
        super().__init__()
        self.symbols = [listed("BTCUSDT", step="0.001")]

    def exchange_info(self) -> dict[str, SymbolRules]:
        try:
            return exchange_rules(json.dumps({"symbols": self.symbols}).encode())
        except Malformed as error:
            raise ExchangeError(200, None, str(error)) from None


def test_an_exchange_that_lists_no_symbol_for_once_takes_no_filters_from_exits() -> None:
    """They are read once an hour: until then every quantity would go out unrounded."""
    exchange = Listing()
    market = Market(lambda: exchange.now)
    refresher = Refresher(market, cast("Client", exchange), threading.Event(), lambda: exchange.now)
    assert refresher.refresh()
    known = market.rules("BTCUSDT")
    assert isinstance(known, SymbolRules)

    exchange.symbols = []
    exchange.now += 3_601
    assert not refresher.refresh()
    assert market.rules("BTCUSDT") == known
    assert market.not_ready == ""  # exits go on

    exchange.symbols = [listed("BTCUSDT", step="0.5")]
    exchange.now += 1
    assert refresher.refresh()
    assert market.rules("BTCUSDT") != known


def test_marks_go_stale_rather_than_use_up_the_weight_that_exits_need() -> None:
    exchange = Scripted()
    market = Market(lambda: exchange.now)
    refresher = Refresher(market, cast("Client", exchange), threading.Event(), lambda: exchange.now)
    assert refresher.refresh()
    assert market.mark("BTCUSDT") == Decimal(100)

    exchange.now += MARK_STALE_S + 1
    exchange.rate.note_headers({"X-MBX-USED-WEIGHT-1M": "2200"})
    assert refresher.refresh()
    assert isinstance(market.mark("BTCUSDT"), Stale)
    assert market.not_ready == ""  # exits go on

    exchange.rate.note_headers({"X-MBX-USED-WEIGHT-1M": "300"})
    assert refresher.refresh()
    assert market.mark("BTCUSDT") == Decimal(100)
