"""The other yardstick: the same job as an actor of dramatiq, which brings threads and retries.

Its messages lie in lists of its own, so the rig puts each plan there instead of on the stream.
It has the promises of dramatiq (at least once, in any order) and none of the executor's.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

import dramatiq
import redis
import requests
from dramatiq.brokers.redis import RedisBroker

from .naive import READY, handle

QUEUE = "plans"
ACTOR = "handle_plan"
THREADS = 8  # as many as the executor has


def sender(redis_url: str) -> Any:
    """A function that queues plans, many in one go as the rig does for the stream."""
    broker = RedisBroker(url=redis_url, middleware=[])
    broker.declare_queue(QUEUE)

    def send(plan: dict[str, str]) -> None:
        broker.enqueue(
            dramatiq.Message(
                queue_name=QUEUE, actor_name=ACTOR, args=(), kwargs={"plan": plan}, options={}
            )
        )

    return send


def main() -> None:
    broker = RedisBroker(url=os.environ["REDIS_URL"])
    client = redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
    local = threading.local()
    url = os.environ["BINANCE_BASE_URL"] + "/fapi/v1/order"

    def handle_plan(plan: dict[str, str]) -> None:
        if not hasattr(local, "session"):
            local.session = requests.Session()
            local.session.trust_env = False
        handle(client, local.session, url, plan)

    dramatiq.actor(handle_plan, broker=broker, queue_name=QUEUE, actor_name=ACTOR)
    logging.getLogger("dramatiq").setLevel(logging.ERROR)
    worker = dramatiq.Worker(broker, worker_threads=THREADS)
    worker.start()
    client.set(READY, os.getpid())
    threading.Event().wait()  # until the rig ends us


if __name__ == "__main__":
    main()
