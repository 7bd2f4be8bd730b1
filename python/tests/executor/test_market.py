"""The executor's own view of the exchange, where the weight of all services runs short."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import cast

from quantum_exit.binance.client import Client
from quantum_exit.binance.model import SymbolConfig, SymbolRules
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
