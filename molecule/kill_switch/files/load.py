"""Plans of an ordinary producer, about ten a second, until it is stopped.

Runs on the host with the release's Python, as the Redis user intent_bridge.
"""

from __future__ import annotations

import itertools
import pathlib
import time
import uuid

import redis

PASSWORDS = "/etc/quantum/redis.env"
STREAM = "quantum:stream:apply.plan"
EVERY_S = 0.1
SYMBOLS = ("AVAXUSDT", "SOLUSDT")


def password() -> str:
    lines = pathlib.Path(PASSWORDS).read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines)["REDIS_PASSWORD_INTENT_BRIDGE"]


def plan(symbol: str) -> dict[str, str]:
    return {
        "plan_id": f"load-{uuid.uuid4().hex}",
        "decision": "EXECUTE",
        "symbol": symbol,
        "side": "BUY",
        "type": "MARKET",
        "qty": "1",
        "reduceOnly": "false",
        "source": "intent_bridge",
        "signature": "intent_bridge",
        "timestamp": f"{time.time():.3f}",
        "action": "OPEN",
    }


def main() -> None:
    client = redis.Redis(username="intent_bridge", password=password(), socket_timeout=2)
    for symbol in itertools.cycle(SYMBOLS):
        try:
            client.xadd(STREAM, plan(symbol))
        except redis.RedisError as error:
            print(f"not taken: {type(error).__name__}", flush=True)
        time.sleep(EVERY_S)


if __name__ == "__main__":
    main()
