"""Copies of the project to build releases from: projects.py SOURCE TARGET."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def copy(source: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    shutil.copy(source / "pyproject.toml", target)
    shutil.copytree(
        source / "src",
        target / "src",
        ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"),
    )
    return target / "src" / "quantum_exit"


def replace(path: Path, before: str, after: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert before in text, f"{path.name} has changed: {before!r} is not in it"
    path.write_text(text.replace(before, after), encoding="utf-8")


def main() -> None:
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    old = copy(source, target / "old").parents[1]

    package = copy(old, target / "new")
    (package / "another.py").write_text('"""Nobody imports it."""\n', encoding="utf-8")

    # Its brain starts, waits for nothing, and is never ready.
    package = copy(old, target / "never")
    brain = package / "brain" / "__main__.py"
    after = "from __future__ import annotations\n"
    replace(brain, after, f"{after}import time\ntime.sleep(1_000_000)\n")

    # Its brain is ready and beats, but takes a LIVE configuration for SHADOW.
    package = copy(old, target / "shadow")
    replace(package / "exit_mode.py", '== "TRUE"', '== "YES"')


if __name__ == "__main__":
    main()
