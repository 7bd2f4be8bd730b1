"""The table of faults as a page: `python matrix.py` writes docs/PROOFS.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from faults import FAULTS, Fault
from quantum_exit.proofs.catalogue import CATALOGUE

PAGE = Path(__file__).resolve().parents[3] / "docs" / "PROOFS.md"
_HEAD = """\
# Proofs, and what turns them red

Made by `molecule/faults/tests/matrix.py` from the table of faults beside it; a test compares them.

`exitctl proof NAME` runs one of them on the host, `exitctl proof all` all five, `--json` and
`--nagios` give the same to machines. They look at what runs now, send drills through the real way,
and leave no trace in positions, ledger or orders: what is registered as a drill is never granted.
Exit status: 0 PASS, 1 PARTIAL (80 % passed, nothing critical failed), 2 FAIL, 3 could not be run.

Each fault below is applied to a real host; exactly the checks marked with ● turn red, and green
again once it is repaired (○: the whole proof could not be run). `./quantum test --all` runs all of
them, CI a part that changes.
"""


def page() -> str:
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _HEAD
    yield "## Faults\n"
    yield "| fault | what is done |"
    yield "|---|---|"
    for fault in FAULTS:
        yield f"| `{fault.name}` | {fault.what} |"
    for proof, checks in CATALOGUE.items():
        yield f"\n## `{proof}`\n"
        yield "| check | green while |"
        yield "|---|---|"
        for key, text in checks.items():
            yield f"| `{key}` | {text} |"
        yield ""
        yield from _matrix(proof, list(checks))


def _matrix(proof: str, checks: list[str]) -> Iterator[str]:
    yield "| fault | " + " | ".join(f"`{key.removesuffix('.timer')}`" for key in checks) + " |"
    yield "|---|" + ":-:|" * len(checks)
    for fault in FAULTS:
        row = [_mark(fault, proof, key) for key in checks]
        if any(row):
            yield f"| `{fault.name}` | " + " | ".join(row) + " |"


def _mark(fault: Fault, proof: str, key: str) -> str:
    if proof in fault.red:
        return "○"  # it could not be run
    return "●" if f"{proof}.{key}" in fault.red else ""


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
