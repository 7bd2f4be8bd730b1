"""Ten plans a second from an ordinary producer, and what became of each."""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence

import redis
from hosts import wait_until
from paper_exchange.testing import OrderRecord

PLANS = "quantum:stream:apply.plan"
RESULTS = "quantum:stream:apply.result"
EVERY_S = 0.1
OPENS_EVERY = 5


def opening(symbol: str, qty: str) -> dict[str, str]:
    return {
        "plan_id": f"load-{uuid.uuid4().hex}",
        "decision": "EXECUTE",
        "symbol": symbol,
        "side": "BUY",
        "type": "MARKET",
        "qty": qty,
        "reduceOnly": "false",
        "source": "intent_bridge",
        "signature": "intent_bridge",
        "timestamp": f"{time.time():.3f}",
        "action": "OPEN",
    }


class Load:
    """A context: one in five plans opens a little, the others try to exit and are denied."""

    def __init__(self, producer: redis.Redis) -> None:
        self._producer = producer
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self._from_ms = int(time.time() * 1000)
        self.sent: dict[str, bool] = {}
        """Plan id -> whether it opens."""
        self.problem: Exception | None = None

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _send(self) -> None:
        number = 0
        began = time.monotonic()
        while not self._stop.wait(max(0.0, began + number * EVERY_S - time.monotonic())):
            plan = opening("SOLUSDT", "1")
            opens = number % OPENS_EVERY == 0
            if not opens:
                plan |= {"side": "SELL", "reduceOnly": "true", "action": "CLOSE"}
            try:
                self._producer.xadd(PLANS, plan)
            except redis.RedisError as error:
                self.problem = error
                return
            self.sent[plan["plan_id"]] = opens
            number += 1

    def results(self, operator: redis.Redis) -> list[dict[str, str]]:
        found = operator.xrange(RESULTS, min=f"{self._from_ms}-0")
        return [fields for _, fields in found if fields["plan_id"] in self.sent]

    def assert_each_answered_once(
        self, operator: redis.Redis, orders: Callable[[], Sequence[OrderRecord]]
    ) -> None:
        """`orders`: what came to the exchange, asked for once every plan has its result."""
        assert self.problem is None, f"the load ended: {self.problem}"
        assert len(self.sent) > 10, "hardly any load"
        wait_until(
            "a result of each plan",
            lambda: {result["plan_id"] for result in self.results(operator)} == set(self.sent),
        )
        results = self.results(operator)
        assert Counter(result["plan_id"] for result in results).most_common(1)[0][1] == 1
        executed = [result for result in results if result["executed"] == "true"]
        assert {result["plan_id"] for result in executed} == {p for p, o in self.sent.items() if o}
        accepted = Counter(order.client_order_id for order in orders() if order.accepted)
        counts = {result["plan_id"]: accepted[result["client_order_id"]] for result in executed}
        assert {plan_id: count for plan_id, count in counts.items() if count != 1} == {}


class ReadyGap:
    """A context that watches the executor's heartbeat."""

    KEY = "quantum:heartbeat:intent_executor"

    def __init__(self, operator: redis.Redis) -> None:
        self._operator = operator
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._ready: list[tuple[float, str]] = []

    def __enter__(self) -> ReadyGap:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            ready, at, pid = self._operator.hmget(self.KEY, "ready", "ts_epoch", "pid")
            if ready == "true" and (not self._ready or self._ready[-1] != (float(at), pid)):
                self._ready.append((float(at), pid))

    @property
    def pids(self) -> set[str]:
        return {pid for _, pid in self._ready}

    @property
    def longest_s(self) -> float:
        """Between two beats that say ready; up to half a second of it is the beat's own pace."""
        times = [at for at, _ in self._ready]
        return max((b - a for a, b in itertools.pairwise(times)), default=float("inf"))
