"""A proof as people and machines read it."""

from __future__ import annotations

import time
from typing import Any, Final

from quantum_exit.proofs.model import Outcome, Proof, Verdict

_OUTCOME: Final = {Outcome.PASS: "✅ PASS", Outcome.FAIL: "❌ FAIL", Outcome.INFO: "⚠️ INFO"}
_VERDICT: Final = {
    Verdict.PASS: "✅ PASS",
    Verdict.PARTIAL: "⚠️ PARTIAL",
    Verdict.FAIL: "❌ FAIL",
    Verdict.NOT_RUN: "❌ COULD NOT BE RUN",
}
_RULE: Final = "=" * 64


def at_utc(epoch: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(epoch))


def render(proof: Proof) -> str:
    lines = [_RULE, f"{proof.title}  {at_utc(proof.at_epoch)}", _RULE]
    for number, test in enumerate(proof.tests, start=1):
        lines.append(f"TEST {number}: {test.name}  {_OUTCOME[test.outcome]}")
        lines += [f"   {line}" for line in test.evidence]
    lines.append("")
    if proof.error:
        lines.append(f"FINAL VERDICT: {_VERDICT[Verdict.NOT_RUN]} ({proof.error})")
    else:
        counts = f"({proof.passed}/{len(proof.tests)})"
        lines.append(f"FINAL VERDICT: {_VERDICT[proof.verdict]} {counts}")
    return "\n".join(lines)


def document(proof: Proof) -> dict[str, Any]:
    return {
        "proof": proof.name,
        "at": at_utc(proof.at_epoch),
        "at_epoch": proof.at_epoch,
        "verdict": str(proof.verdict),
        "exit_code": proof.verdict.exit_code,
        "passed": proof.passed,
        "total": len(proof.tests),
        "took_s": round(proof.took_s, 3),
        "error": proof.error,
        "tests": [
            {
                "test": number,
                "key": test.key,
                "name": test.name,
                "outcome": str(test.outcome),
                "critical": test.critical,
                "evidence": list(test.evidence),
                "figures": {figure.name: figure.value for figure in test.figures},
            }
            for number, test in enumerate(proof.tests, start=1)
        ],
    }
