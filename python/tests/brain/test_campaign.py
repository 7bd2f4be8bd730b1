"""A brain through storms made by dice: late, partial, forged and lost answers, orders whose
outcome is unknown for minutes, an exchange that lags, rows that cannot be read, restarts."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

import pytest

from quantum_exit import keys
from quantum_exit.messages import ExitIntent, IntentAction

from .harness import OWNER, Brain

D = Decimal
S = "BTCUSDT"
SHARES = {"tp3": D("0.3"), "tp6": D("0.25")}
LEVELS = [{"pct": 3, "fraction": "0.3"}, {"pct": 6, "fraction": "0.25"}]
STEP = D("0.001")
FATES = {"filled": 8, "in_part": 4, "denied": 3, "slow": 2, "lost": 1, "forged": 2, "unknown": 1}
FORGED = ("SOURCE_UNVERIFIED:source=x", "position_stale", "quantity_below_step")
MOST_SECONDS_BEYOND_ITS_STOP = 400
"""Several intents in a row may be lost, or wait for a minute."""


@dataclass
class Flying:
    """An intent on its way through the other services."""

    intent: ExitIntent
    fate: str
    due_epoch: float


class Storm:
    def __init__(self, brain: Brain, seed: int) -> None:
        self.brain, self.dice = brain, random.Random(seed)
        rules: dict[str, object] = {"stop_loss_pct": 2, "take_profits": LEVELS}
        if self.dice.random() < 0.5:
            rules["break_even_at_pct"] = "4"
        brain.policy({"default": rules})
        self.mark, self.entry = D(100), D(100)
        self.amount, self.largest = D(0), D(0)
        self.taken: defaultdict[str, Decimal] = defaultdict(Decimal)
        self.shown = [(0.0, D(0), D(100))]
        self.flying: list[Flying] = []
        self.read = self.opened = 0
        self.beyond_since: float | None = None

    @property
    def now(self) -> float:
        return self.brain.clock.now

    def blow(self, cycles: int) -> None:
        for _ in range(cycles):
            self.brain.clock.advance(self.dice.choice([0.5, 1, 1, 1]))
            self._move_price()
            self._maybe_open()
            self._take_intents()
            self._end_what_is_due()
            self._show()
            self._shake()
            self.brain.service.run_once()
            assert self.brain.heartbeat["ready"] == "true"
            self._check_stop()

    def _move_price(self) -> None:
        moved = self.mark * D(str(1 + self.dice.gauss(0, 0.008)))
        self.mark = max(D(50), moved.quantize(D("0.01")))

    def _maybe_open(self) -> None:
        if self.amount or self.flying or self.dice.random() > 0.15:
            return
        self.opened += 1
        amount = self.dice.choice([D("0.5"), D(1), D(2)]) * self.dice.choice([1, -1])
        self.taken.clear()
        self.largest, self.entry = abs(amount), self.mark
        self._hold(amount)
        side = "BUY" if amount > 0 else "SELL"
        self.brain.result(f"open-{self.opened}", S, side, str(abs(amount)))

    def _take_intents(self) -> None:
        intents = self.brain.intents
        for intent in intents[self.read :]:
            (fate,) = self.dice.choices(list(FATES), list(FATES.values()))
            longest_s = {"slow": 58, "unknown": 200}.get(fate, 1.5)
            self.flying.append(Flying(intent, fate, self.now + self.dice.uniform(0, longest_s)))
            if fate == "unknown":
                grant = json.dumps({"symbol": S})
                self.brain.redis.hset(keys.EXECUTOR_OPEN, intent.intent_id, grant)
        self.read = len(intents)

    def _end_what_is_due(self) -> None:
        for one in list(self.flying):
            if one.fate == "forged":
                plan_id, error = f"exit-{one.intent.intent_id}", self.dice.choice(FORGED)
                how = {"error": error, "decision": "DENIED", "plan_source": OWNER}
                self.brain.result(plan_id, S, "SELL", "0", **how)
                one.fate, one.due_epoch = "filled", self.now + self.dice.uniform(0, 50)
            elif self.now >= one.due_epoch:
                self.flying.remove(one)
                if one.fate != "lost":
                    self._carry_out(one)

    def _carry_out(self, one: Flying) -> None:
        """As the executor does: never more than is held, than was signed, than its fraction."""
        intent, held = one.intent, abs(self.amount)
        self.brain.redis.hdel(keys.EXECUTOR_OPEN, intent.intent_id)
        sign = 1 if self.amount > 0 else -1
        if one.fate == "denied" or not held or intent.side.exit_order_side.sign == sign:
            self.brain.answer(intent, error="position_stale" if held else "already_flat")
            return
        asked, fraction = intent.quantity or D(0), intent.qty_fraction or D(1)
        part = D(str(round(self.dice.uniform(0.1, 0.9), 3))) if one.fate == "in_part" else D(1)
        most = min(asked, held, fraction * max(held, asked)).quantize(STEP, ROUND_DOWN)
        filled = (most * part).quantize(STEP, ROUND_DOWN)
        if not filled:
            self.brain.answer(intent, error="quantity_below_step")
            return
        self._count(intent, filled)
        self._hold(self.amount - sign * filled)
        self.brain.answer(intent, filled=str(filled))

    def _count(self, intent: ExitIntent, filled: Decimal) -> None:
        level = intent.intent_id.split("-")[2]
        if level not in SHARES or intent.action is not IntentAction.PARTIAL_CLOSE:
            return
        self.taken[level] += filled
        assert self.taken[level] <= self.largest * SHARES[level], f"{level} was taken twice"

    def _hold(self, amount: Decimal) -> None:
        """The exchange shows it now, or a moment later; one change after the other."""
        self.amount = amount
        shows_epoch = self.now + self.dice.choice([0, 0, 0, 1, 3])
        self.shown.append((max(self.shown[-1][0], shows_epoch), amount, self.entry))

    def _show(self) -> None:
        _, amount, entry = [one for one in self.shown if one[0] <= self.now][-1]
        self.brain.exchange.hold(S, str(amount), str(entry), mark=str(self.mark))

    def _shake(self) -> None:
        unreadable = self.brain.exchange.unreadable
        if self.dice.random() < 0.02:
            unreadable.add(S)
        elif self.dice.random() < 0.3:
            unreadable.clear()
        if self.dice.random() < 0.02:
            self.brain.restart()

    def _check_stop(self) -> None:
        loss = (self.entry - self.mark) * (1 if self.amount > 0 else -1)
        if not self.amount or loss < self.entry * D("0.025"):
            self.beyond_since = None
            return
        self.beyond_since = self.beyond_since or self.now
        assert self.now - self.beyond_since < MOST_SECONDS_BEYOND_ITS_STOP


def _through_storms(brain: Brain, seeds: range) -> None:
    asked = 0
    for seed in seeds:
        brain.redis.flushdb()
        brain.switch(active=False)
        brain.exchange.unreadable.clear()
        brain.exchange.held.clear()
        brain.restart()
        brain.cycle(2)
        storm = Storm(brain, seed)
        storm.blow(500)
        asked += storm.read
    assert asked > 10 * len(seeds), "hardly anything was asked for"


def test_no_level_is_taken_twice_and_no_position_stays_beyond_its_stop(brain: Brain) -> None:
    _through_storms(brain, range(8))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_nor_in_many_storms(brain: Brain) -> None:
    _through_storms(brain, range(8, 200))
