"""P3.3 as a process, beside a real Redis and the paper exchange."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from paper_exchange.testing import PaperExchange

from ..processes import Start, processes_of
from .harness import SIGNER, SYMBOL


@pytest.fixture(scope="module")
def shared_exchange() -> Iterator[PaperExchange]:
    with PaperExchange() as exchange:
        yield exchange


@pytest.fixture
def exchange(shared_exchange: PaperExchange) -> PaperExchange:
    shared_exchange.reset()
    shared_exchange.set_price(SYMBOL, "60000")
    return shared_exchange


@pytest.fixture
def start(redis_url: str, exchange: PaperExchange) -> Iterator[Start]:
    environ = {
        "REDIS_URL": redis_url,
        "BINANCE_TESTNET": "true",
        "BINANCE_BASE_URL": exchange.base_url,
        "BINANCE_API_KEY": exchange.api_key,
        "BINANCE_API_SECRET": exchange.secret_key,
        "QUANTUM_PUBLIC_KEY_EXITBRAIN_V3_5": SIGNER.public_hex,
    }
    with processes_of("quantum_exit.permits", environ) as run:
        yield run
