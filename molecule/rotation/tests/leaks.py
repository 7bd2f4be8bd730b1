"""Looks for secrets in every place where they could have been left or told."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from stage import Stage

# Where secrets belong: their own files, and what the exchange itself knows.
OWN_PLACES = ("/etc/quantum/*.env", "/etc/redis/quantum.acl", "/var/lib/*/quantum-paper-exchange/*")
SEARCHED = "/etc /root /home /opt /run /srv /tmp /usr/local /var /dev/shm"


def in_text(text: str, secrets: Sequence[str]) -> list[str]:
    return [f"told: {secret[:10]}…" for secret in secrets if secret in text]


def in_folder(folder: Path, secrets: Sequence[str]) -> list[str]:
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            found += [str(path) for secret in secrets if secret.encode() in content]
    return found


def in_journal(stage: Stage, secrets: Sequence[str]) -> list[str]:
    lines = stage.run("journalctl --no-pager --all --boot").text.splitlines()
    assert len(lines) > 100, "hardly any journal"
    return [line[:80] for line in lines if in_text(line, secrets)]


def in_files(stage: Stage, secrets: Sequence[str], *, own_places: bool = True) -> list[str]:
    """Names of files on the host, readable or not. Binary ones too."""
    command = f"grep -rlsaF -f - --exclude-dir=journal {SEARCHED}"
    files = stage.run(command, stdin="\n".join(secrets), check=False).text.splitlines()
    allowed = OWN_PLACES if own_places else OWN_PLACES[2:]
    return [
        file
        for file in files
        if not any(Path(file).match(pattern) for pattern in allowed)
        and not file.startswith("/var/lib/quantum-paper-exchange")
    ]


class ProcessWatch:
    """A context that looks at every process of this machine, those of the host among them: at
    each command line, and at each environment that is not a service's own."""

    SERVICES = ("quantum-", "exitbrain-proof")

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = [secret.encode() for secret in secrets]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.found: set[str] = set()
        self.rounds = 0

    def __enter__(self) -> ProcessWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self.rounds += 1
            for process in Path("/proc").iterdir():
                if process.name.isdigit():
                    self._look(process)

    def _look(self, process: Path) -> None:
        try:
            words = (process / "cmdline").read_bytes()
            environment = (process / "environ").read_bytes()
            if any(secret in words for secret in self._secrets):
                self.found.add(f"command line of {words[:60]!r}")
            if any(secret in environment for secret in self._secrets):
                unit = Path((process / "cgroup").read_text().splitlines()[-1]).name
                if not unit.startswith(self.SERVICES):
                    self.found.add(f"environment of {words[:60]!r}")
        except OSError:
            return  # it has ended
