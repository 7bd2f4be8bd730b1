"""What a rotation has staged, and how far it has come: on disk, in one directory of root's.

<directory>/.rotation/journal.json    kind, phase, file names
<directory>/.rotation/old/<name>      each file as it was
<directory>/.rotation/new/<name>      each file as it shall be
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from quantum_exit.rotation import files
from quantum_exit.rotation.errors import RotationError
from quantum_exit.rotation.services import Condition

NAME: Final = ".rotation"


class Phase(StrEnum):
    """How far it has come. A run that was killed left the last one behind."""

    STAGED = "staged"
    """Everything is written down; no file is changed, and Redis takes old and new passwords."""
    SWITCHING = "switching"
    """Files are being renamed, then services restarted."""
    PROVEN = "proven"
    """It works with the new secrets; only tidying is left."""
    OVERLAP = "overlap"
    """Both signing keys are accepted, until a moment that is written down."""


class Kind(StrEnum):
    """What is rotated."""

    EXCHANGE = "exchange"
    SIGNING = "signing"
    REDIS = "redis"
    PRODUCERS = "producers"


@dataclass(frozen=True, slots=True)
class Entry:
    """The journal. `before`: how the host was; `until_epoch`: end of the overlap, Unix seconds."""

    kind: Kind
    phase: Phase
    names: tuple[str, ...]
    before: Condition
    until_epoch: float = 0.0


class Journal:
    """`directory`: where the env files are."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._root = directory / NAME
        self._file = self._root / "journal.json"

    def load(self) -> Entry | None:
        """None when nothing was left behind. Raises RotationError when it cannot be read."""
        text = files.read(self._file)
        if text is None:
            files.remove_tree(self._root)  # staging had not ended: nothing was changed
            return None
        try:
            document = json.loads(text)
            return Entry(
                kind=Kind(document["kind"]),
                phase=Phase(document["phase"]),
                names=tuple(document["names"]),
                before=Condition(
                    document["before"]["expect"],
                    tuple(document["before"]["failed"]),
                    dict(document["before"]["not_ready"]),
                ),
                until_epoch=float(document["until_epoch"]),
            )
        except (ValueError, KeyError, TypeError):
            raise RotationError(
                f"{self._file} cannot be read: compare the files in {self._root}/old and /new with "
                f"those in {self.directory}, then remove {self._root}"
            ) from None

    def stage(
        self, kind: Kind, old: Mapping[str, str], new: Mapping[str, str], before: Condition
    ) -> Entry:
        """Write both versions of every file down. The journal comes last: with it they count."""
        files.remove_tree(self._root)
        files.make_directory(self._root)
        for part, texts in (("old", old), ("new", new)):
            files.make_directory(self._root / part)
            for name, text in texts.items():
                files.write(self._root / part / name, text)
        return self.enter(Entry(kind, Phase.STAGED, tuple(new), before))

    def enter(self, entry: Entry) -> Entry:
        files.make_directory(self._root)
        files.write(self._file, json.dumps(asdict(entry)))
        return entry

    def old(self, name: str) -> str:
        return self._staged("old", name)

    def new(self, name: str) -> str:
        return self._staged("new", name)

    def _staged(self, part: str, name: str) -> str:
        text = files.read(self._root / part / name)
        if text is None:
            raise RotationError(f"{self._root}/{part}/{name} is missing")
        return text

    def forget_texts(self) -> None:
        """The backup is not needed any more."""
        for part in ("old", "new"):
            files.remove_tree(self._root / part)

    def close(self) -> None:
        """Nothing is left behind. Without the journal the rest does not count."""
        self._file.unlink(missing_ok=True)
        files.sync(self._root)
        files.remove_tree(self._root)
