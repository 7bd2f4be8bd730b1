"""The drop directory: alerts of whoever cannot reach Redis, as files, one each.

A file is written aside, synced and renamed, so that the courier never sees half of one; it is
removed only after it lies in the spool.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

DROP: Final = "drop"
_SUFFIX: Final = ".alert"
_MOST: Final = 64 * 1024
"""Bytes of one file; more is no alert."""


def put(state_directory: Path, fields: Mapping[str, str]) -> None:
    """Raises OSError."""
    folder = state_directory / DROP
    folder.mkdir(mode=0o700, exist_ok=True)
    name = f"{time.time_ns():020d}-{os.getpid()}{_SUFFIX}"
    half = folder / f".{name}"
    try:
        with half.open("w", encoding="utf-8") as file:
            json.dump(dict(fields), file, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        half.rename(folder / name)
    except OSError:
        half.unlink(missing_ok=True)
        raise
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def waiting(state_directory: Path, most: int = 100) -> list[Path]:
    """Oldest first. Raises OSError."""
    folder = state_directory / DROP
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix == _SUFFIX)[:most]


def read(paths: list[Path]) -> Iterator[dict[str, str]]:
    """What cannot be read as an alert is told as one."""
    for path in paths:
        try:
            with path.open(encoding="utf-8", errors="replace") as file:
                value = json.loads(file.read(_MOST))
            yield {str(name): str(text) for name, text in value.items()}
        except FileNotFoundError:
            continue
        except (OSError, ValueError, AttributeError, RecursionError) as error:
            details = json.dumps({"file": path.name, "why": type(error).__name__})
            yield {"alert_type": "UNREADABLE_ALERT", "alert_id": path.name, "details": details}
