"""The verdicts that the proof's timer wrote into its log, as a matrix over time. Pure."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_HEAD = re.compile(r"(?P<title>.+?) {2}(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC")
_TEST = re.compile(r"TEST \d+: (?P<name>.+?) {2}\S+ (?P<outcome>PASS|FAIL|INFO)")
_VERDICT = re.compile(r"FINAL VERDICT: \S+ (?P<verdict>PASS|PARTIAL|FAIL|COULD NOT BE RUN)")


@dataclass(frozen=True, slots=True)
class Run:
    title: str
    at_epoch: float
    outcomes: Mapping[str, str]
    """PASS, FAIL or INFO by the test's name."""
    verdict: str


def parse(text: str) -> list[Run]:
    """In the order of the log. A run without a verdict was cut off and is left out."""
    runs: list[Run] = []
    title, at, outcomes = "", 0.0, dict[str, str]()
    for line in text.splitlines():
        if head := _HEAD.fullmatch(line):
            parsed = time.strptime(head["at"], "%Y-%m-%d %H:%M:%S")
            title, at, outcomes = head["title"], float(calendar.timegm(parsed)), {}
        elif test := _TEST.fullmatch(line):
            outcomes[test["name"]] = test["outcome"]
        elif (verdict := _VERDICT.match(line)) and title:
            runs.append(Run(title, at, outcomes, verdict["verdict"]))
            title = ""
    return runs


def in_buckets(
    runs: Sequence[Run], test: str, since_epoch: float, until_epoch: float, count: int
) -> list[str]:
    """The worst outcome of a test in each of `count` equal parts of the time; empty where it
    did not run."""
    width = (until_epoch - since_epoch) / count
    cells = [""] * count
    for run in runs:
        outcome = run.outcomes.get(test, "")
        at = int((run.at_epoch - since_epoch) / width)
        if outcome and 0 <= at < count and (outcome == "FAIL" or cells[at] != "FAIL"):
            cells[at] = outcome
    return cells
