"""Runs every kind of test there is, prints each line it runs, and ends with one line of sums.

Each pytest test counts (those of the molecule scenarios too), each lint and each scenario
counts as one. Skipped tests are reported, and count neither as passed nor as failed.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REPORTS = ROOT / ".cache" / "reports"
# Scenarios of one host run on the newest Debian; on the older one too when all is asked for.
RELEASE_VARIABLE = "QUANTUM_TEST_RELEASE"
OLDER_RELEASE = "bookworm"
# The tests mostly wait, for processes that they start and kill. A file's tests share a Redis.
SIDE_BY_SIDE = ["-n", str(min(8, 2 * (os.cpu_count() or 1))), "--dist", "loadfile"]


@dataclass
class Sums:
    """What a part, or all of them, came to."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped
        )


@dataclass
class Part:
    """One command. With a report its tests are counted, without it counts as one."""

    name: str
    command: list[str]
    folder: Path = ROOT
    report: Path | None = None
    counts_itself: bool = True
    environment: dict[str, str] = field(default_factory=dict)


def parts(everything: bool) -> Iterator[Part]:
    """All there is to run, what fails fastest first."""
    yield Part("format", ["ruff", "format", "--check", "."])
    yield Part("ruff", ["ruff", "check", "."])
    yield Part("types", ["mypy"], folder=ROOT / "python")
    yield Part(
        "types of the sandbox host",
        ["mypy", "--strict", "--package", "sandbox_host"],
        folder=ROOT / "roles" / "sandbox_host" / "files",
    )
    yield Part("ansible-lint", ["ansible-lint"])
    report = REPORTS / "sandbox_host.xml"
    yield Part(
        "sandbox host",
        ["pytest", f"--junit-xml={report}", "-q", "-p", "no:cacheprovider", "tests"],
        folder=ROOT / "roles" / "sandbox_host",
        report=report,
        counts_itself=False,
    )
    report = REPORTS / "python.xml"
    yield Part(
        "python",
        ["pytest", f"--junit-xml={report}", *SIDE_BY_SIDE, *(["--long"] if everything else [])],
        folder=ROOT / "python",
        report=report,
        counts_itself=False,
    )
    scenarios = [path.parent for path in sorted((ROOT / "molecule").glob("*/molecule.yml"))]
    for scenario in scenarios:
        yield molecule(scenario.name, everything)
    if everything:
        for scenario in filter(takes_a_release, scenarios):
            yield molecule(scenario.name, everything, release=OLDER_RELEASE)


def takes_a_release(scenario: Path) -> bool:
    """Whether its host boots the Debian release that RELEASE_VARIABLE names."""
    inventory = scenario / "inventory" / "hosts.yml"
    return RELEASE_VARIABLE in inventory.read_text(encoding="utf-8")


def molecule(name: str, everything: bool, release: str = "") -> Part:
    """A scenario counts as one, and each of its testinfra tests."""
    label = f"{name} {release}".strip()
    report = REPORTS / f"molecule-{label.replace(' ', '-')}.xml"
    return Part(
        f"molecule {label}",
        ["molecule", "test", "--scenario-name", name],
        report=report,
        environment={
            "MOLECULE_GLOB": str(ROOT / "molecule" / "*" / "molecule.yml"),
            "MOLECULE_EPHEMERAL_DIRECTORY": str(ROOT / ".cache" / "molecule" / name),
            "MOLECULE_COMMAND_BORDERS": "false",
            "PYTEST_ADDOPTS": f"--junit-xml={report}",
            "QUANTUM_TEST_ALL": "true" if everything else "false",
            RELEASE_VARIABLE: release,
        },
    )


def run(part: Part) -> Sums:
    """Run it, its output straight to the terminal, and count."""
    print(f"\n==> {part.name}: {shlex.join(part.command)}", flush=True)
    if part.report:
        part.report.parent.mkdir(parents=True, exist_ok=True)
        part.report.unlink(missing_ok=True)
    # An input of its own: Ansible refuses one that an ssh which was killed left non-blocking.
    code = subprocess.run(
        part.command,
        stdin=subprocess.DEVNULL,
        cwd=part.folder,
        env={**os.environ, **part.environment},
        check=False,
    ).returncode
    sums = read_report(part.report) if part.report and part.report.exists() else Sums()
    if part.counts_itself:
        sums += Sums(failed=1) if code else Sums(passed=1)
    elif code and not sums.failed:
        sums += Sums(failed=1)  # it ended badly, whatever its report says
    if part.report and not sums.passed and not sums.failed:
        print(f"{part.name}: no test ran")
        sums += Sums(failed=1)
    return sums


def read_report(path: Path) -> Sums:
    """Sums of a JUnit report, as pytest writes it."""
    sums = Sums()
    for suite in ElementTree.parse(path).getroot().iter("testsuite"):  # noqa: S314 - our own file
        total, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
        failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        sums += Sums(total - failed - skipped, failed, skipped)
    return sums


def main() -> int:
    """0 if something ran and nothing failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="also what is too long for CI")
    parser.add_argument("--only", action="append", help="parts whose name begins so")
    arguments = parser.parse_args()
    total, lines = Sums(), []
    for part in parts(arguments.all):
        if arguments.only and not part.name.startswith(tuple(arguments.only)):
            continue
        started = time.monotonic()
        sums = run(part)
        total += sums
        lines.append(
            f"{part.name:<28} {sums.passed:>6} passed {sums.failed:>4} failed "
            f"{sums.skipped:>4} skipped {time.monotonic() - started:>6.0f} s"
        )
    print("\n" + "\n".join(lines))
    print(f"{total.passed} passed, {total.failed} failed")
    return 0 if total.passed and not total.failed else 1


if __name__ == "__main__":
    sys.exit(main())
