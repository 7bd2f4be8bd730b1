"""The parameters of the few orders we send, under the names the exchange gives them."""

from __future__ import annotations

import re
from decimal import Decimal

from quantum_exit.binance.filters import plain

_CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}", re.ASCII)


def check_client_id(client_id: str) -> str:
    """`ValueError` for an id that the exchange would refuse."""
    if _CLIENT_ID.fullmatch(client_id) is None:
        raise ValueError("a client order id is 1 to 36 of A-Z a-z 0-9 . : / _ -")
    return client_id


def market_order(
    symbol: str, side: str, quantity: Decimal, client_order_id: str, *, reduce_only: bool
) -> dict[str, str]:
    """A MARKET order whose answer tells the fill."""
    return {
        "symbol": symbol,
        "side": side,
        "type": "MARKET",
        "quantity": plain(quantity),
        "reduceOnly": "true" if reduce_only else "false",
        "newClientOrderId": check_client_id(client_order_id),
        "newOrderRespType": "RESULT",
    }


def stop_market(
    symbol: str, side: str, quantity: Decimal, trigger: Decimal, client_algo_id: str
) -> dict[str, str]:
    """A reduce-only stop that rests on the exchange and is triggered by the mark price."""
    return {
        "algoType": "CONDITIONAL",
        "symbol": symbol,
        "side": side,
        "type": "STOP_MARKET",
        "quantity": plain(quantity),
        "triggerPrice": plain(trigger),
        "workingType": "MARK_PRICE",
        "reduceOnly": "true",
        "clientAlgoId": check_client_id(client_algo_id),
    }
