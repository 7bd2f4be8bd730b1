"""Unit files on a host: what differs from what should be there, and making it so."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

DIRECTORY = Path("/etc/systemd/system")


class UnitError(Exception):
    """A unit file is wrong or systemd refuses it."""


def systemctl(*words: str) -> str:
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UnitError(f"systemctl {' '.join(words)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def those_not(word: str, question: str, names: list[str]) -> list[str]:
    """Units of which systemd does not say `word` when asked `is-enabled` or `is-active`.

    A unit that it does not know may have no line in its answer: ask of those that have a file.
    """
    if not names:
        return []
    done = subprocess.run(["systemctl", question, *names], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    if len(lines) != len(names):
        raise UnitError(f"systemctl {question} {' '.join(names)}: {done.stderr.strip()}")
    return [name for name, line in zip(names, lines, strict=True) if line.strip() != word]


def with_fingerprint(text: str) -> str:
    return text.replace("@FINGERPRINT@", hashlib.sha256(text.encode()).hexdigest())


def verify(texts: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory(prefix="quantum-units-") as scratch:
        paths = []
        for name, text in texts.items():
            path = Path(scratch, name)
            path.write_text(text)
            paths.append(str(path))
        command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *paths]
        # Units of the system beside ours may have faults of their own: only our files count.
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        faults = [line for line in done.stderr.splitlines() if scratch in line or done.returncode]
        if faults:
            raise UnitError("\n".join(faults).replace(f"{scratch}/", ""))


def replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def text_at(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def wants_enabling(text: str) -> bool:
    return "\n[Install]\n" in text


def is_timer(name: str) -> bool:
    return name.endswith(".timer")


class Installation:
    """What differs between the units as they are and as they should be."""

    def __init__(self, units: dict[str, str], absent: list[str]) -> None:
        self.texts = {name: with_fingerprint(text) for name, text in units.items()}
        self.before = {name: text_at(DIRECTORY / name) for name in [*units, *absent]}
        self.to_write = {n: t for n, t in self.texts.items() if t != self.before[n]}
        self.to_remove = [name for name in absent if self.before[name]]
        wanted = [name for name, text in self.texts.items() if wants_enabling(text)]
        self.to_enable = self._those_not("enabled", "is-enabled", wanted)
        timers = [name for name in self.texts if is_timer(name)]
        self.to_start = self._those_not("active", "is-active", timers)
        self.timers_to_restart = [
            name
            for name in self.to_write
            if is_timer(name) and name not in self.to_start and self.before[name]
        ]

    def _those_not(self, word: str, question: str, names: list[str]) -> list[str]:
        """With those that are not installed yet."""
        off = those_not(word, question, [name for name in names if self.before[name]])
        return [name for name in names if not self.before[name] or name in off]

    def reasons(self) -> list[tuple[str, str]]:
        """What is, or would be, done to units and why; empty if all is as it should be."""
        kinds = (
            (self.to_write, "the unit file differs"),
            (self.to_remove, "it is to be removed"),
            (self.to_enable, "it is not enabled"),
            (self.to_start, "the timer does not run"),
        )
        return [(name, why) for names, why in kinds for name in names]

    def diff(self) -> list[dict[str, str]]:
        wanted = {**self.to_write, **dict.fromkeys(self.to_remove, "")}
        return [
            {
                "before_header": str(DIRECTORY / name),
                "after_header": str(DIRECTORY / name),
                "before": self.before[name],
                "after": text,
            }
            for name, text in wanted.items()
        ]

    def install(self) -> None:
        """All files, then one reload. Nothing is started."""
        if self.to_write:
            verify(self.texts)
        for name in self.to_remove:
            systemctl("disable", "--now", name)
            (DIRECTORY / name).unlink()
        for name, text in self.to_write.items():
            replace(DIRECTORY / name, text)
        if self.to_write or self.to_remove or self.needs_reload():
            systemctl("daemon-reload")
        if self.to_enable:
            systemctl("enable", *self.to_enable)

    def start_timers(self) -> None:
        for name in self.to_start:
            systemctl("start", name)
        for name in self.timers_to_restart:
            systemctl("restart", name)

    def needs_reload(self) -> bool:
        """A run that was interrupted between writing and reloading leaves this behind."""
        names = [name for name in self.texts if "@." not in name]  # a template is never loaded
        if not names:
            return False
        shown = systemctl("show", "--property=NeedDaemonReload", "--value", *names)
        return "yes" in shown.split()
