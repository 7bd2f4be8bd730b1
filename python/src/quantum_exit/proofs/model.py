"""What a proof is made of, and how its tests become a verdict. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

PARTIAL_SHARE: Final = 0.8
"""With this share of tests passed, and no critical one failed, a proof is PARTIAL."""


class Outcome(StrEnum):
    PASS = "PASS"  # noqa: S105 - a verdict
    FAIL = "FAIL"
    INFO = "INFO"
    """Nothing to judge yet. Counts as passed."""


class Expect(StrEnum):
    """In which state the host should be."""

    LIVE = "live"
    SHADOW = "shadow"
    KILLED = "killed"


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value, for monitoring. `most` is the bound beyond which the check fails."""

    name: str
    value: float
    unit: str = ""
    """Of Nagios: `s`, `B`, `%`, `c` for a counter, or nothing."""
    most: float | None = None
    least: float | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One test. `key` names it for machines and does not change."""

    key: str
    name: str
    outcome: Outcome
    evidence: tuple[str, ...]
    critical: bool = False
    figures: tuple[Figure, ...] = ()

    @property
    def passed(self) -> bool:
        return self.outcome is not Outcome.FAIL


class Verdict(StrEnum):
    PASS = "PASS"  # noqa: S105 - a verdict
    PARTIAL = "PARTIAL"
    FAIL = "FAIL"
    NOT_RUN = "NOT RUN"

    @property
    def exit_code(self) -> int:
        return _EXIT_CODES[self]


_EXIT_CODES: Final = {Verdict.PASS: 0, Verdict.PARTIAL: 1, Verdict.FAIL: 2, Verdict.NOT_RUN: 3}


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof that was run. `error` is set when it could not be."""

    name: str
    title: str
    at_epoch: float
    tests: tuple[Check, ...]
    error: str = ""
    took_s: float = 0.0

    @property
    def passed(self) -> int:
        return sum(test.passed for test in self.tests)

    @property
    def verdict(self) -> Verdict:
        return Verdict.NOT_RUN if self.error else judge(self.tests)


def judge(tests: Sequence[Check]) -> Verdict:
    """No test at all proves nothing, so that is NOT_RUN and never a PASS."""
    if not tests:
        return Verdict.NOT_RUN
    failed = [test for test in tests if not test.passed]
    if not failed:
        return Verdict.PASS
    share = 1 - len(failed) / len(tests)
    if share >= PARTIAL_SHARE and not any(test.critical for test in failed):
        return Verdict.PARTIAL
    return Verdict.FAIL


def overall(proofs: Sequence[Proof]) -> Verdict:
    """The worst of several verdicts. A FAIL is worse than one that could not be run."""
    order = (Verdict.FAIL, Verdict.NOT_RUN, Verdict.PARTIAL)
    verdicts = {proof.verdict for proof in proofs}
    if not verdicts:
        return Verdict.NOT_RUN
    return next((verdict for verdict in order if verdict in verdicts), Verdict.PASS)
