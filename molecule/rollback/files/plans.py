"""Plans of an ordinary producer on the host: `send` until stopped, `audit` what became of them.

Runs with the release's Python. Each plan opens one AVAXUSDT; `audit` prints one JSON object.
"""

from __future__ import annotations

import collections
import json
import pathlib
import sys
import time
from decimal import Decimal

import redis

SYMBOL = "AVAXUSDT"
SENT = pathlib.Path("/run/quantum-plans.sent")
EVERY_S = 0.5
PLANS, RESULTS = "quantum:stream:apply.plan", "quantum:stream:apply.result"


def client(user: str) -> redis.Redis:
    lines = pathlib.Path("/etc/quantum/redis.env").read_text(encoding="utf-8").splitlines()
    passwords = dict(line.split("=", 1) for line in lines if "=" in line)
    password = passwords[f"REDIS_PASSWORD_{user.upper()}"].strip('"')
    return redis.Redis(username=user, password=password, decode_responses=True)


def send() -> None:
    bus = client("intent_bridge")
    with SENT.open("a", encoding="utf-8") as sent:
        while True:
            plan_id = f"roll-{time.time_ns()}"
            bus.xadd(
                PLANS,
                {
                    "plan_id": plan_id,
                    "decision": "EXECUTE",
                    "symbol": SYMBOL,
                    "side": "BUY",
                    "type": "MARKET",
                    "qty": "1",
                    "reduceOnly": "false",
                    "source": "intent_bridge",
                    "signature": "intent_bridge",
                    "timestamp": f"{time.time():.3f}",
                    "action": "OPEN",
                },
            )
            sent.write(f"{plan_id}\n")
            sent.flush()
            time.sleep(EVERY_S)


def audit() -> None:
    bus = client("operator")
    sent = SENT.read_text(encoding="utf-8").split()
    results = [fields for _, fields in bus.xrange(RESULTS)]
    per_plan = collections.Counter(fields["plan_id"] for fields in results)
    filled = Decimal(0)
    for fields in results:
        if fields["symbol"] == SYMBOL and fields["executed"] == "true":
            amount = Decimal(fields["filled_qty"])
            filled += amount if fields["side"] == "BUY" else -amount
    ours = [fields for fields in results if fields["plan_id"].startswith("roll-")]
    print(
        json.dumps(
            {
                "sent": len(sent),
                "without_result": [plan_id for plan_id in sent if not per_plan[plan_id]],
                "with_several": [plan_id for plan_id, count in per_plan.items() if count > 1],
                "executed": sum(fields["executed"] == "true" for fields in ours),
                "errors": sorted({fields["error"] for fields in ours}),
                "pending": bus.xpending(PLANS, "intent_executor")["pending"],
                "filled": str(filled),
                "position": bus.hget(f"quantum:position:snapshot:{SYMBOL}", "position_amt"),
            }
        )
    )


if __name__ == "__main__":
    {"send": send, "audit": audit}[sys.argv[1]]()
