"""The exchange alone: eight clients that do nothing but send, one order after another.

What they reach is what the venue and this machine allow at most; what is missing to it is the
work of whoever is measured. `python -m benchmarks.executor.floor URL SECONDS` prints orders/s.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator

from quantum_exit.binance.transport import Wire

from .venue import SYMBOLS

CLIENTS = len(SYMBOLS)


def send_until(url: str, symbol: str, end_mono: float) -> Iterator[None]:
    wire = Wire(url, timeout_s=5, connect_timeout_s=2)
    order = f"symbol={symbol}&side=SELL&type=MARKET&quantity=0.001&newClientOrderId=floor"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    while time.monotonic() < end_mono:
        wire.exchange("POST", "/fapi/v1/order", headers, order.encode())
        yield


def orders_per_second(url: str, seconds: float) -> float:
    end = time.monotonic() + seconds
    sent = [0] * CLIENTS

    def run(number: int) -> None:
        for _ in send_until(url, SYMBOLS[number], end):
            sent[number] += 1

    threads = [threading.Thread(target=run, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(sent) / seconds


if __name__ == "__main__":
    print(f"{orders_per_second(sys.argv[1], float(sys.argv[2])):.1f}")
