"""The run behind the pictures, played on a sandbox host: prices that move second by second,
positions that the Exit Brain closes for different reasons, plans that are refused.

Run by ./make with the host's own Python. Leaves two positions open, for `exitctl top`.
"""

import itertools
import os
import random
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

from quantum_exit.demo.paper import Paper
from quantum_exit.envfile import parse

LASTS_S = 600
# Symbol: the price it begins at, and how far from that in percent it is at which second.
ROADS = {
    "AVAXUSDT": ("30", ((0, 0), (60, 0.2), (220, 3.5), (300, 2.9), (360, 1.7), (600, 2.2))),
    "BTCUSDT": ("60000", ((0, 0), (90, 0.1), (150, 0.6), (280, -2.3), (420, -1.2), (600, -0.6))),
    "ETHUSDT": ("3000", ((0, 0), (110, 0), (290, -2.6), (420, -1.3), (600, -1.0))),
    "SOLUSDT": ("150", ((0, 0), (200, -0.6), (450, -1.0), (600, 0.4))),
}
OPEN, CLOSE = ("--source", "intent_bridge"), ("--source", "intent_bridge", "--reduce-only")
# Second: what is sent then. The last ones of each symbol stay open.
PLANS = {
    75: ("AVAXUSDT", "BUY", "30", *OPEN),
    100: ("BTCUSDT", "BUY", "0.015", *OPEN),
    120: ("ETHUSDT", "SELL", "0.3", *OPEN),
    200: ("AVAXUSDT", "SELL", "30", *CLOSE),
    205: ("BTCUSDT", "SELL", "0.015", "--unsigned", "--reduce-only"),
    340: ("DOGEUSDT", "BUY", "2000", *OPEN),
    430: ("BTCUSDT", "BUY", "0.015", *OPEN),
    455: ("SOLUSDT", "BUY", "6", *OPEN),
    520: ("SOLUSDT", "SELL", "6", *CLOSE),
    560: ("BTCUSDT", "SELL", "0.05", "--source", "harvester", "--reduce-only"),
}


def price(start: str, road: tuple[tuple[int, float], ...], second: int, noise: float) -> Decimal:
    for (from_s, from_pct), (to_s, to_pct) in itertools.pairwise(road):
        if from_s <= second <= to_s:
            pct = from_pct + (to_pct - from_pct) * (second - from_s) / (to_s - from_s) + noise
            return (Decimal(start) * Decimal(100 + pct) / 100).quantize(Decimal("0.001"))
    raise ValueError(second)


def main() -> None:
    settings = parse(Path("/etc/quantum/paper-exchange.env").read_text(encoding="utf-8"))
    operator = parse(Path("/etc/quantum/operator.env").read_text(encoding="utf-8"))
    token = settings.get("PAPER_EXCHANGE_CONTROL_TOKEN", "")
    paper = Paper(operator["BINANCE_BASE_URL"], token)
    chance = random.Random(7)  # noqa: S311 - the same pictures each time
    noises = dict.fromkeys(ROADS, 0.0)
    sent: list[subprocess.Popen[bytes]] = []
    began = time.monotonic()
    for second in range(LASTS_S):
        for symbol, (start, road) in ROADS.items():
            noises[symbol] = noises[symbol] * 0.97 + chance.gauss(0, 0.025)
            paper.set_price(symbol, price(start, road, second, noises[symbol]))
        if second in PLANS:
            symbol, side, qty, *more = PLANS[second]
            print(f"{second} s: {side} {qty} {symbol} {' '.join(more)}", flush=True)
            order = ("--symbol", symbol, "--side", side, "--qty", qty, *more)
            line = ["exitctl", "plan", "send", *order, "--reason", "pictures"]
            quiet = subprocess.DEVNULL
            sent.append(subprocess.Popen(line, stdout=quiet, env=os.environ))  # noqa: S603 - our own lines
        time.sleep(max(began + second + 1 - time.monotonic(), 0))
    for process in sent:
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
