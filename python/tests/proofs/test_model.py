"""From tests to a verdict to an exit code."""

from __future__ import annotations

import pytest

from quantum_exit.proofs.model import Check, Outcome, Proof, Verdict, judge, overall
from quantum_exit.proofs.text import document, render

P, F, INFO = Outcome.PASS, Outcome.FAIL, Outcome.INFO


def result(outcome: Outcome, critical: bool = False) -> Check:
    return Check("key", "a test", outcome, ("seen",), critical)


@pytest.mark.parametrize(
    ("outcomes", "critical", "verdict", "code"),
    [
        ([P] * 6, False, Verdict.PASS, 0),
        ([P] * 5 + [INFO], False, Verdict.PASS, 0),
        ([P] * 5 + [F], False, Verdict.PARTIAL, 1),
        ([P] * 4 + [F], False, Verdict.PARTIAL, 1),
        ([P] * 5 + [F], True, Verdict.FAIL, 2),
        ([P] * 4 + [F] * 2, False, Verdict.FAIL, 2),
        ([F], False, Verdict.FAIL, 2),
        ([], False, Verdict.NOT_RUN, 3),
    ],
)
def test_the_verdict(outcomes: list[Outcome], critical: bool, verdict: Verdict, code: int) -> None:
    tests = [result(outcome, critical) for outcome in outcomes]
    assert judge(tests) is verdict
    assert judge(tests).exit_code == code


def proof(*outcomes: Outcome, error: str = "") -> Proof:
    tests = tuple(result(outcome) for outcome in outcomes)
    return Proof("exitbrain", "EXIT BRAIN PROOF", 1_700_000_000, tests, error)


def test_the_text_is_what_people_grep_for() -> None:
    text = render(proof(P, P, P, P, P, INFO))
    assert "EXIT BRAIN PROOF  2023-11-14 22:13:20 UTC" in text
    assert "TEST 1: a test  ✅ PASS" in text
    assert "TEST 6: a test  ⚠️ INFO" in text
    assert text.endswith("FINAL VERDICT: ✅ PASS (6/6)")
    assert "\x1b" not in text
    assert render(proof(P, P, P, P, F)).endswith("FINAL VERDICT: ⚠️ PARTIAL (4/5)")
    assert render(proof(F, F)).endswith("FINAL VERDICT: ❌ FAIL (0/2)")


def test_what_could_not_be_run_is_no_pass() -> None:
    broken = proof(error="Redis does not answer")
    assert broken.verdict.exit_code == 3
    assert "Redis does not answer" in render(broken)
    assert document(broken)["verdict"] == "NOT RUN"


def test_of_several_the_worst_counts() -> None:
    assert overall([proof(P), proof(F)]) is Verdict.FAIL
    assert overall([proof(P), proof(error="x")]) is Verdict.NOT_RUN
    assert overall([proof(F), proof(error="x")]) is Verdict.FAIL
    assert overall([proof(P)]) is Verdict.PASS
    assert overall([]) is Verdict.NOT_RUN
