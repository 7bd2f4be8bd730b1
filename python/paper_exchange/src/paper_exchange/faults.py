"""Faults that a test orders: delays, lost connections and other answers, before or after.

"Before" means the request never reaches the exchange's engine; "after" means it was executed
and only the reply is late, lost or another.
"""

from __future__ import annotations

import fnmatch
import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .rest.answers import Canned


class When(StrEnum):
    BEFORE = "before"
    AFTER = "after"


@dataclass(slots=True)
class Rule:
    """`method` and `path` take shell patterns; empty `symbol` and `client_id` match any.

    Of the requests that match, the first `skip` are left alone; then every `every`-th is hit,
    with `probability`, `times` times at most (None: without end).
    """

    method: str = "*"
    path: str = "*"
    symbol: str = ""
    client_id: str = ""
    skip: int = 0
    every: int = 1
    probability: float = 1.0
    seed: int = 0
    times: int | None = None
    delay_before_ms: int = 0
    delay_after_ms: int = 0
    drop: When | None = None
    answer: Canned | None = None
    answer_when: When = When.BEFORE
    rule_id: int = 0
    seen: int = 0
    hits: int = 0
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 a fault's dice, no secrets

    @property
    def is_used_up(self) -> bool:
        return self.times is not None and self.hits >= self.times

    def hit(self, method: str, path: str, params: Mapping[str, str]) -> bool:
        """Whether this request is hit; counts."""
        if self.is_used_up or not self._matches(method, path, params):
            return False
        self.seen += 1
        due = self.seen > self.skip and (self.seen - self.skip) % self.every == 0
        if not due or (self.probability < 1 and self._random.random() >= self.probability):
            return False
        self.hits += 1
        return True

    def _matches(self, method: str, path: str, params: Mapping[str, str]) -> bool:
        client_id = params.get("newClientOrderId") or params.get("clientAlgoId") or ""
        return (
            fnmatch.fnmatchcase(method, self.method)
            and fnmatch.fnmatchcase(path, self.path)
            and self.symbol in ("", params.get("symbol"))
            and (not self.client_id or fnmatch.fnmatchcase(client_id, self.client_id))
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens to one request: all rules that hit it, taken together."""

    delay_before_ms: int = 0
    delay_after_ms: int = 0
    drop_before: bool = False
    drop_after: bool = False
    answer_before: Canned | None = None
    answer_after: Canned | None = None


NO_FAULT = Plan()


class FaultBoard:
    def __init__(self) -> None:
        self._rules: dict[int, Rule] = {}
        self._ids = itertools.count(1)

    def add(self, rule: Rule) -> int:
        rule.rule_id = next(self._ids)
        self._rules[rule.rule_id] = rule
        return rule.rule_id

    def remove(self, rule_id: int) -> bool:
        return self._rules.pop(rule_id, None) is not None

    def clear(self) -> None:
        self._rules.clear()

    def rules(self) -> list[Rule]:
        return list(self._rules.values())

    def plan(self, method: str, path: str, params: Mapping[str, str]) -> Plan:
        """Asks every rule once; delays add up, of two answers the older rule's counts."""
        if not self._rules:
            return NO_FAULT
        hits = [rule for rule in self._rules.values() if rule.hit(method, path, params)]
        if not hits:
            return NO_FAULT
        return Plan(
            delay_before_ms=sum(r.delay_before_ms for r in hits),
            delay_after_ms=sum(r.delay_after_ms for r in hits),
            drop_before=any(r.drop is When.BEFORE for r in hits),
            drop_after=any(r.drop is When.AFTER for r in hits),
            answer_before=_first_answer(hits, When.BEFORE),
            answer_after=_first_answer(hits, When.AFTER),
        )


def _first_answer(rules: list[Rule], when: When) -> Canned | None:
    return next((r.answer for r in rules if r.answer and r.answer_when is when), None)
