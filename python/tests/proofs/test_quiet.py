"""That nothing of a drill reached the exchange is looked for wherever a drill was held."""

from __future__ import annotations

from decimal import Decimal
from typing import cast

import pytest

from quantum_exit.binance.client import Client
from quantum_exit.binance.model import OrderAck
from quantum_exit.proofs.executor import quiet_check
from quantum_exit.proofs.ground import Ground
from quantum_exit.proofs.model import Outcome

PREFIX = "qx-0123-"


class Books:
    """An exchange that knows one order of the drill's."""

    def __init__(self, symbol: str) -> None:
        one = Decimal(1)
        self._order = OrderAck(
            symbol, 7, f"{PREFIX}1", "FILLED", "SELL", "MARKET", one, one, one, True, 0
        )

    def all_orders(self, symbol: str, **_: int) -> list[OrderAck]:
        return [self._order] if symbol == self._order.symbol else []


@pytest.mark.parametrize("symbol", ["ETHUSDT", "BTCUSDT"])
def test_an_order_of_a_drill_is_found_where_nothing_is_held_and_where_something_is(
    symbol: str,
) -> None:
    client = cast("Client", Books(symbol))
    ground = Ground("ETHUSDT", "BTCUSDT", Decimal("0.01"))
    check = quiet_check([], client, ground, 0, (PREFIX,))
    assert check.outcome is Outcome.FAIL
    nothing = quiet_check([], cast("Client", Books("AVAXUSDT")), ground, 0, (PREFIX,))
    assert nothing.outcome is Outcome.PASS
