"""A campaign of kills: plans flow while the executor, or Redis, dies at the worst moments.

The exchange takes its time for a request and loses every seventh answer to an order after executing
it. When all is over every plan has one result, and the fills are those of executed results.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import redis

from paper_exchange.testing import PaperExchange
from quantum_exit import keys

from ..conftest import RedisServer
from .harness import Executor, Fields, World, wait_for

FAILPOINTS = (
    "after_judge",
    "before_grant",
    "after_grant",
    "after_send",
    "before_settle",
    "after_settle",
)
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "AVAXUSDT")
STEPS = {"BTCUSDT": "0.001", "ETHUSDT": "0.001", "SOLUSDT": "1", "AVAXUSDT": "1"}
_LOST_EVERY = 7
_REST_EVERY = 8
"""After so many kills an executor lives until nothing is left over: else plans grow old."""


@dataclass(frozen=True)
class Terms:
    latency_ms: int
    symbols: tuple[str, ...]
    plans_at_once: int
    failpoints: tuple[str, ...]


SLOW = Terms(80, SYMBOLS, 4, FAILPOINTS)
CROWDED = Terms(15, SYMBOLS[:2], 12, (*FAILPOINTS, *["granted_along"] * 3))
"""Many exits of a symbol at once, and an exchange so fast that one's grant rides on the end of
the one before."""


def paper_for_campaigns() -> PaperExchange:
    return PaperExchange(balance=1_000_000_000)


class Campaign:
    def __init__(self, world: World, seed: int, terms: Terms = SLOW) -> None:
        self.world = world
        self.terms = terms
        self.dice = random.Random(seed)
        self.sent: set[str] = set()
        self.kills = 0
        self.kills_at: Counter[str] = Counter()
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        for symbol in SYMBOLS:
            world.exchange.set_position(symbol, "1000")
        world.observe()
        world.exchange.set_latency(terms.latency_ms)
        world.exchange.add_fault(
            method="POST", path="/fapi/v1/order", every=_LOST_EVERY, drop="after"
        )
        self._watcher.start()

    def close(self) -> None:
        self._over.set()
        self._watcher.join(10)

    def _watch(self) -> None:
        """P3.3's part: fresh snapshots, also through a Redis that comes and goes."""
        while not self._over.wait(0.5):
            try:
                self.world.observe()
            except redis.RedisError:
                continue

    # Plans

    def send_some(self) -> None:
        """A few plans of several kinds; some entries arrive twice."""
        for _ in range(self.dice.randint(1, self.terms.plans_at_once)):
            plan = self._plan()
            try:
                self.world.send(plan)
                self.sent.add(plan["plan_id"])
                if self.dice.random() < 0.1:
                    self.world.send(plan, permit=False)
            except redis.RedisError:
                return  # Redis is down: what it acknowledged is in `sent`

    def _plan(self) -> Fields:
        world, symbol = self.world, self.dice.choice(self.terms.symbols)
        qty = STEPS[symbol]
        kind = self.dice.random()
        if kind < 0.4:
            return world.signed(symbol=symbol, qty=qty)
        if kind < 0.7:
            return world.by_intent(world.intent(symbol=symbol, quantity=qty))
        if kind < 0.9:
            qty = "0.01" if qty == "0.001" else "10"
            return world.opening(symbol=symbol, qty=qty)
        return world.plan(symbol=symbol, source="intent_bridge", qty=qty)

    # Kills

    def one_kill(self) -> None:
        """An executor starts, works for a moment, and is killed at random or at a step."""
        failpoints = self.terms.failpoints
        failpoint = self.dice.choice((*failpoints, *failpoints, "", "", ""))
        extra = {"QUANTUM_FAILPOINT": f"{failpoint}:{self.dice.randint(1, 3)}"} if failpoint else {}
        self.send_some()
        executor = self.world.start(wait=False, **extra)
        if failpoint:
            self._until_it_dies(executor)
        else:
            self._until_it_reads(executor)
            self.send_some()
            time.sleep(self.dice.uniform(0, 0.4))
        died_there = executor.process.poll() is not None
        executor.kill()
        self.kills_at[failpoint if died_there else "random"] += 1
        self.kills += 1
        if self.kills % _REST_EVERY == 0:
            self.rest()

    def _until_it_reads(self, executor: Executor) -> None:
        wait_for(lambda: executor.beat() or executor.process.poll() is not None, "a heartbeat", 20)

    def _until_it_dies(self, executor: Executor) -> None:
        """It passes its fail point as soon as it has the work for it."""
        deadline = time.monotonic() + 4
        while executor.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
            if self.dice.random() < 0.02:
                self.send_some()

    def rest(self) -> None:
        """An executor without faults of its own answers everything there is."""
        executor = self.world.start(wait=False)
        self.wait_until_settled()
        executor.kill()

    # The end

    def wait_until_settled(self, timeout_s: float = 90) -> None:
        world = self.world

        def settled() -> bool:
            try:
                return world.pending() == 0 and not world.redis.hlen(keys.EXECUTOR_OPEN)
            except (redis.RedisError, ValueError):
                return False

        wait_for(settled, "every plan answered", timeout_s)

    def check(self) -> None:
        """One result a plan, none without, as many fills as executed results."""
        world = self.world
        arrived: Counter[str] = Counter(
            fields["plan_id"] for _, fields in world.redis.xrange(keys.APPLY_PLAN)
        )
        assert self.sent <= arrived.keys(), "Redis lost plans it had acknowledged"
        results = world.results()
        answered = Counter(fields["plan_id"] for fields in results)
        assert not arrived.keys() - answered.keys(), "plans without a result"
        assert not answered.keys() - arrived.keys(), "results without a plan"
        assert {name for name, count in answered.items() if count > 1} == set()
        world.assert_fills_explain(results)
        executed = [fields for fields in results if fields["executed"] == "true"]
        assert executed, "nothing was executed: the campaign proves nothing"

    def report(self) -> str:
        results = Counter(f"{f['decision']}" for f in self.world.results())
        lost = sum(order.reply == "dropped" for order in self.world.orders())
        return (
            f"{self.kills} kills {dict(self.kills_at)}, {sum(results.values())} plans "
            f"{dict(results)}, {lost} answers lost, {len(self.world.our_fills())} fills"
        )


def kill_executors(
    world: World, kills: int, seed: int, show: Callable[[str], None], terms: Terms = SLOW
) -> None:
    campaign = Campaign(world, seed, terms)
    try:
        while campaign.kills < kills:
            campaign.one_kill()
            if campaign.kills % 50 == 0:
                show(campaign.report())
        campaign.rest()
        campaign.check()
        show(campaign.report())
    finally:
        campaign.close()


def kill_redis(
    world: World,
    server: RedisServer,
    kills: int,
    seed: int,
    show: Callable[[str], None],
    terms: Terms = SLOW,
) -> None:
    """The executor lives; now and then it dies together with Redis."""
    campaign = Campaign(world, seed, terms)
    executor = world.start()
    try:
        while campaign.kills < kills:
            campaign.send_some()
            time.sleep(campaign.dice.uniform(0, 0.6))
            if campaign.dice.random() < 0.2:
                executor.kill()
            server.kill()
            time.sleep(campaign.dice.uniform(0, 0.2))
            server.start()
            if executor.process.poll() is not None:
                executor = world.start(wait=False)
            campaign.kills += 1
            campaign.kills_at["redis"] += 1
            if campaign.kills % _REST_EVERY == 0:
                campaign.wait_until_settled()
            if campaign.kills % 50 == 0:
                show(campaign.report())
        campaign.wait_until_settled()
        campaign.check()
        show(campaign.report())
    finally:
        campaign.close()
