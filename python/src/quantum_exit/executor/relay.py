"""A symbol's next exit, approved while the order before it is on the wire.

Its world is looked at along with the grant before, and judged as it is going to be behind that
order's end: with the fill in our books. End and grant then go out in one write, and the grant
holds only if the end was written as reckoned. Whatever is otherwise, the plan goes the ordinary
way: a look of its own, and then its grant.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quantum_exit.bus.line import Argument
from quantum_exit.executor.approver import SEEN_JUST_NOW_S, Approver
from quantum_exit.executor.grant import OpenGrant
from quantum_exit.executor.lanes import Lanes
from quantum_exit.executor.observer import Observer, Question
from quantum_exit.executor.work import Work


@dataclass(frozen=True, slots=True)
class _Looked:
    work: Work
    question: Question
    at_mono: float


@dataclass(slots=True)
class Relay:
    """Belongs to one order thread, as what it is made of does, and has an observer of its own."""

    lanes: Lanes
    observer: Observer
    approver: Approver
    _asked: _Looked | None = None
    _seen: _Looked | None = None

    def forget(self) -> None:
        self._asked = self._seen = None

    def look_behind(self, symbol: str, ahead: Work | None = None) -> Sequence[tuple[Argument, ...]]:
        """What to ask along with a grant about the symbol's next exit; nothing where there is
        none. `ahead`: the lane's next plan, if it is the one to be granted."""
        self.forget()
        work = self.lanes.next_of(symbol, ahead)
        if work is None or not work.order.reduces or work.look_first:
            return ()
        question = self.observer.question([work.claim])
        self._asked = _Looked(work, question, time.monotonic())
        return question.commands

    def take(self, answers: list[Any]) -> None:
        """What Redis answered to it."""
        if self._asked is not None:
            self.observer.take(self._asked.question, answers)
        self._seen = self._asked

    def follower(self, symbol: str, ledger: Mapping[str, str]) -> tuple[Work, OpenGrant] | None:
        """The symbol's next exit with the grant to ask for, if it was seen just now and nothing
        stands against it. `ledger`: what our books are about to hold."""
        seen = self._seen
        self.forget()
        if (
            seen is None
            or time.monotonic() - seen.at_mono > SEEN_JUST_NOW_S
            or self.lanes.next_of(symbol) is not seen.work
            or not self.lanes.may_go_on()
        ):
            return None
        world = self.observer.observed(seen.work.claim, ledger)
        grant = self.approver.approve_on(seen.work, world)
        return None if grant is None else (seen.work, grant)
