from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from paper_exchange.domain.engine import Terms
from paper_exchange.exchange import Exchange
from paper_exchange.listing import make_market, synthetic_info

START_MS = 1_700_000_000_000


@pytest.fixture(scope="session")
def make_exchange() -> Callable[..., Exchange]:
    market = make_market(synthetic_info(0, 1), {}, {})

    def make(balance: str = "10000", **terms: Decimal) -> Exchange:
        return Exchange(market, {"USDT": Decimal(balance)}, Terms(**terms), 1, START_MS)

    return make
