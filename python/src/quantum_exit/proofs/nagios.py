"""A proof as one line for Nagios and its kin: state, words, and performance data. Pure.

The exit codes of proofs are those of such plugins: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from quantum_exit.proofs.model import Figure, Proof, Verdict, overall

_STATE: Final = {
    Verdict.PASS: "OK",
    Verdict.PARTIAL: "WARNING",
    Verdict.FAIL: "CRITICAL",
    Verdict.NOT_RUN: "UNKNOWN",
}
_NOT_A_LABEL: Final = re.compile(r"[^A-Za-z0-9_.:-]")
_NOT_IN_WORDS: Final = re.compile(r"[|\r\n]")


def line(proofs: Sequence[Proof]) -> str:
    """`QUANTUM OK - exitbrain 6/6 | exitbrain_failed=0;0;0;0;6 …`, on a single line."""
    state = _STATE[overall(proofs)]
    words = "; ".join(_words(proof) for proof in proofs)
    data = " ".join(value for proof in proofs for value in _performance(proof))
    return f"QUANTUM {state} - {_NOT_IN_WORDS.sub(' ', words)} | {data}"


def _words(proof: Proof) -> str:
    if proof.error:
        return f"{proof.name} could not be run: {proof.error}"
    told = f"{proof.name} {proof.passed}/{len(proof.tests)}"
    failed = [test.name for test in proof.tests if not test.passed]
    return f"{told}, failed: {', '.join(failed)}" if failed else told


def _performance(proof: Proof) -> Iterable[str]:
    if proof.error:
        return
    count = len(proof.tests)
    yield f"{proof.name}_failed={count - proof.passed};0;0;0;{count}"
    yield f"{proof.name}_took={proof.took_s:.3f}s;;;0"
    for test in proof.tests:
        for figure in test.figures:
            yield _value(f"{proof.name}_{figure.name}", figure)


def _value(name: str, figure: Figure) -> str:
    """One bound serves as warning and as critical: a check knows no state between."""
    label = _NOT_A_LABEL.sub("_", name)
    bound = ""
    if figure.least is not None:
        bound = f"{_plain(figure.least)}:"
    if figure.most is not None:
        bound += _plain(figure.most)
    return f"{label}={_plain(figure.value)}{figure.unit};{bound};{bound}"


def _plain(number: float) -> str:
    """Without exponents, which such programs do not read."""
    return f"{number:.3f}".rstrip("0").rstrip(".") or "0"
