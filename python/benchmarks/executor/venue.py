"""An exchange that does nothing but answer, so that what is measured is the executor.

It notes when an order's first bytes arrive, and its answer leaves a fixed time after that: what
it has to do itself happens within that time. `GET /bench/orders` tells the arrivals since it
was last asked.
"""

from __future__ import annotations

import asyncio
import json
import selectors
import sys
import time
from typing import Any
from urllib.parse import parse_qsl

SYMBOLS = [f"B{number}USDT" for number in range(8)]
_PRICE = "100.00"
_ORDER = {
    "status": "FILLED",
    "price": "0",
    "avgPrice": _PRICE,
    "cumQuote": "0",
    "timeInForce": "GTC",
    "type": "MARKET",
    "closePosition": False,
    "positionSide": "BOTH",
    "stopPrice": "0",
    "workingType": "CONTRACT_PRICE",
    "priceProtect": False,
    "origType": "MARKET",
}


def _rules(symbol: str) -> dict[str, Any]:
    lot = {"minQty": "0.001", "maxQty": "10000000", "stepSize": "0.001"}
    return {
        "symbol": symbol,
        "status": "TRADING",
        "contractType": "PERPETUAL",
        "quantityPrecision": 3,
        "pricePrecision": 2,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": "0.01",
                "maxPrice": "1000000",
                "tickSize": "0.01",
            },
            {"filterType": "LOT_SIZE", **lot},
            {"filterType": "MARKET_LOT_SIZE", **lot},
            {"filterType": "MIN_NOTIONAL", "notional": "5"},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": "1.05",
                "multiplierDown": "0.95",
                "multiplierDecimal": "4",
            },
        ],
    }


class Venue:
    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self.arrivals: list[tuple[str, float]] = []
        self._order_id = 0

    def answer(self, method: str, path: str, params: dict[str, str], arrived: float) -> Any:
        now_ms = int(time.time() * 1000)
        if path == "/fapi/v1/order" and method == "POST":
            return self._order(params, arrived, now_ms)
        if path == "/bench/orders":
            arrivals, self.arrivals = self.arrivals, []
            return arrivals
        if path == "/bench/delay":
            self.delay_s = float(params["s"])
            return {}
        if path == "/fapi/v1/time":
            return {"serverTime": now_ms}
        if path == "/fapi/v1/positionSide/dual":
            return {"dualSidePosition": False}
        if path == "/fapi/v1/exchangeInfo":
            return {"symbols": [_rules(symbol) for symbol in SYMBOLS]}
        if path == "/fapi/v1/premiumIndex":
            return [{"symbol": s, "markPrice": _PRICE, "time": now_ms} for s in SYMBOLS]
        return []

    def _order(self, params: dict[str, str], arrived: float, now_ms: int) -> dict[str, Any]:
        self.arrivals.append((params["newClientOrderId"], arrived))
        self._order_id += 1
        return {
            **_ORDER,
            "orderId": self._order_id,
            "symbol": params["symbol"],
            "clientOrderId": params["newClientOrderId"],
            "origQty": params["quantity"],
            "executedQty": params["quantity"],
            "reduceOnly": params.get("reduceOnly") == "true",
            "side": params["side"],
            "updateTime": now_ms,
        }


class _Connection(asyncio.Protocol):
    """HTTP/1.1, as much of it as our clients speak."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._buffer = b""
        self._began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        if not self._buffer:
            self._began = self._loop.time()
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lines = head.decode("latin-1").split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return
        self._buffer = b""
        method, target, _ = lines[0].split(" ")
        path, _, query = target.partition("?")
        params = dict(parse_qsl(query or rest.decode()))
        body = json.dumps(self._venue.answer(method, path, params, self._began)).encode()
        reply = (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % len(body)
        )
        delay_s = self._venue.delay_s if path == "/fapi/v1/order" else 0
        if delay_s:
            self._loop.call_at(self._began + delay_s, self._transport.write, reply + body)
        else:
            self._transport.write(reply + body)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    venue = Venue(0.0)
    server = await loop.create_server(lambda: _Connection(venue), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    # The parent holds our standard input: when it is gone, so are we.
    await loop.run_in_executor(None, sys.stdin.buffer.read)


if __name__ == "__main__":
    # select() keeps timers to the microsecond; epoll would round each up to a millisecond.
    with asyncio.Runner(
        loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())
    ) as runner:
        runner.run(_serve())
