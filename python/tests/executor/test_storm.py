"""Everything at once: an exchange that answers at once, late, never or with a refusal, and plans,
kills, permits taken back, ledgers that others write and sessions that end in between."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis

from quantum_exit import keys

from .harness import wait_for
from .in_process import FATES, HELD, SYMBOLS, Exchange, Inside

USUAL = [*["at once"] * 250, *["late", "unfilled", "limited", *FATES] * 2]


class Storm:
    def __init__(self, inside: Inside, dice: random.Random) -> None:
        self.inside, self.world, self.exchange = inside, inside.world, inside.exchange
        self.dice = dice
        self.sent: list[str] = []
        self.taken_back: set[str] = set()
        self.added = dict.fromkeys(SYMBOLS, 0)
        often = [self._take_back, self._write_ledgers, self._kill]
        self._blows = deque([*often, self._end_session, *often, self._cut])

    def blow(self) -> None:
        """A crowd in one symbol and some in others, and something in the middle of them."""
        dice, crowded = self.dice, self.dice.choice(SYMBOLS)
        begun = threading.Event()
        self.exchange.at_order[len(self.exchange.sent) + dice.randint(1, 6)] = begun.set
        plan_ids = self.world.send_together(
            [
                self._plan(dice.choice((*SYMBOLS, *[crowded] * 3)))
                for _ in range(dice.randint(1, 40))
            ]
        )
        self.sent += plan_ids
        begun.wait(0.1)  # it need not come so far
        self._blows.rotate(1)
        self._blows[0](plan_ids)
        self.inside.tend()

    def _plan(self, symbol: str) -> dict[str, str]:
        if self.dice.random() < 0.15:
            return self.world.opening(symbol=symbol, qty="1")
        return self.world.signed(symbol=symbol, qty=str(self.dice.randint(1, 9)))

    def _take_back(self, plan_ids: list[str]) -> None:
        for plan_id in plan_ids[1::2]:
            if self.world.redis.delete(keys.permit(plan_id)):
                self.taken_back.add(plan_id)

    def _write_ledgers(self, _: list[str]) -> None:
        for symbol in SYMBOLS:
            self.world.redis.hincrby(keys.ledger(symbol), "position_amt", HELD)
            self.added[symbol] += HELD

    def _kill(self, _: list[str]) -> None:
        self.world.switch(active=True)
        self.exchange.killed_ms = time.time() * 1000
        time.sleep(self.dice.uniform(0.01, 0.05))
        self.exchange.killed_ms = None
        self.world.switch(active=False)

    def _end_session(self, _: list[str]) -> None:
        self.inside.session.stop.set()

    def _cut(self, _: list[str]) -> None:
        connected: Any = self.world.redis.client_list()
        for client in connected:
            if client["name"] == "intent_executor":
                with suppress(redis.ResponseError):  # it went by itself
                    self.world.redis.client_kill_filter(client["id"])

    def settled(self) -> bool:
        self.inside.tend()
        return not self.world.pending() and not self.world.redis.hlen(keys.EXECUTOR_OPEN)

    def check(self) -> None:
        exchange, results = self.exchange, self.world.results()
        assert not exchange.broken, exchange.broken
        assert sorted(result["plan_id"] for result in results) == sorted(self.sent)
        filled = {ack.client_order_id for ack in exchange.orders.values() if ack.executed_qty}
        executed = {r["client_order_id"] for r in results if r["decision"] == "EXECUTED"}
        assert filled == executed
        assert not self.taken_back & {plan_id for _, plan_id, _ in exchange.sent}
        for symbol in SYMBOLS:
            arrived = [plan_id for at, plan_id, _ in exchange.sent if at == symbol]
            assert arrived == sorted(arrived, key=self.sent.index)
            ours = exchange.positions[symbol] - HELD + self.added[symbol]
            assert Decimal(self.world.ledger(symbol)["position_amt"]) == ours


def storm(redis_url: str, directory: Path, seed: int, blows: int, threads: int) -> None:
    dice = random.Random(seed)
    exchange = Exchange(redis_url, lambda: dice.choice(USUAL))
    inside = Inside(redis_url, directory, exchange, INTENT_EXECUTOR_ORDER_THREADS=f"{threads}")
    one = Storm(inside, dice)
    try:
        for _ in range(blows):
            one.blow()
        wait_for(one.settled, "every plan answered", 60)
        one.check()
        print(Counter(result["decision"] for result in one.world.results()))
    finally:
        one.inside.close()


def test_storm(redis_url: str, tmp_path: Path) -> None:
    storm(redis_url, tmp_path, seed=1, blows=12, threads=8)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 160))
def test_a_long_storm(redis_url: str, tmp_path: Path, seed: int) -> None:
    storm(redis_url, tmp_path, seed, blows=60, threads=1 + seed % 4)
