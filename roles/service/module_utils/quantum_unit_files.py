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


def is_on(question: str, name: str) -> bool:
    """Whether systemd answers `is-enabled` or `is-active` with yes."""
    done = subprocess.run(["systemctl", "--quiet", question, name], check=False)
    return done.returncode == 0


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


class Installation:
    """What differs between the units as they are and as they should be."""

    def __init__(self, units: dict[str, str], absent: list[str]) -> None:
        self.texts = {name: with_fingerprint(text) for name, text in units.items()}
        self.before = {name: text_at(DIRECTORY / name) for name in [*units, *absent]}
        self.to_write = {n: t for n, t in self.texts.items() if t != self.before[n]}
        self.to_remove = [name for name in absent if self.before[name]]
        self.to_enable = [
            name
            for name, text in self.texts.items()
            if wants_enabling(text) and not is_on("is-enabled", name)
        ]
        self.to_start = [
            name for name in self.texts if name.endswith(".timer") and not is_on("is-active", name)
        ]
        self.timers_to_restart = [
            name
            for name in self.to_write
            if name.endswith(".timer") and name not in self.to_start and self.before[name]
        ]

    @property
    def changed(self) -> bool:
        return bool(self.to_write or self.to_remove or self.to_enable or self.to_start)

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

    def apply(self) -> None:
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
