"""The yardstick: the consumer that one writes by hand with redis-py in an afternoon.

It reads a plan, looks at the switch and the permit, sends the order, writes the result and
acknowledges: a round trip each, one plan after another. It has none of the promises.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress

import redis
import requests

PLANS = "quantum:stream:apply.plan"
RESULTS = "quantum:stream:apply.result"
GROUP = "naive"
READY = "benchmark:ready"


def main() -> None:
    client = redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
    session = requests.Session()
    session.trust_env = False
    url = os.environ["BINANCE_BASE_URL"] + "/fapi/v1/order"
    with suppress(redis.ResponseError):
        client.xgroup_create(PLANS, GROUP, id="0", mkstream=True)
    client.set(READY, os.getpid())
    while True:
        for _, entries in client.xreadgroup(GROUP, "one", {PLANS: ">"}, count=100, block=1000):
            for entry_id, plan in entries:
                handle(client, session, url, plan)
                client.xack(PLANS, GROUP, entry_id)


def handle(client: redis.Redis, session: requests.Session, url: str, plan: dict[str, str]) -> None:
    error, order = "", {}
    if plan["source"] != "exitbrain_v3_5" and plan["reduceOnly"] == "true":
        error = f"NOT_EXIT_OWNER:source={plan['source']}"
    else:
        killed = json.loads(client.get("quantum:kill_switch"))["active"]
        permit = json.loads(client.get(f"quantum:permit:p33:{plan['plan_id']}"))
        if killed or not permit["allow"]:
            error = "refused"
        else:
            answer = session.post(
                url,
                data={
                    "symbol": plan["symbol"],
                    "side": plan["side"],
                    "type": "MARKET",
                    "quantity": plan["qty"],
                    "reduceOnly": plan["reduceOnly"],
                    "newClientOrderId": plan["plan_id"][:36],
                    "timestamp": str(int(time.time() * 1000)),
                },
                timeout=5,
            )
            order = answer.json()
    client.xadd(
        RESULTS,
        {
            "plan_id": plan["plan_id"],
            "executed": "false" if error else "true",
            "error": error,
            "order_id": str(order.get("orderId", "")),
        },
    )


if __name__ == "__main__":
    main()
