"""A real paper exchange for tests: a process of its own on a free loopback port.

with PaperExchange() as exchange:
    exchange.set_price("BTCUSDT", "60000")
    client = Client(exchange.base_url, exchange.api_key, exchange.secret_key)
    ...
    assert [o.outcome for o in exchange.orders()] == ["accepted"]
"""

from .control import ControlClient, ControlRefused, FillRecord, OrderRecord
from .process import PaperExchange
from .signed import sign_query
from .transport import Answer

__all__ = [
    "Answer",
    "ControlClient",
    "ControlRefused",
    "FillRecord",
    "OrderRecord",
    "PaperExchange",
    "sign_query",
]
