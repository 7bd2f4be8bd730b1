"""New values for some variables of an env file; every other line stays as it is. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from quantum_exit.envfile import EnvFileError, parse, quote
from quantum_exit.rotation.errors import RotationError


def variables(text: str, path: str) -> dict[str, str]:
    """What systemd reads from it. Raises RotationError, naming file and line."""
    try:
        return parse(text)
    except EnvFileError as error:
        raise RotationError(f"{path}: {error}; mend the line, then run this again") from None


def rebind(text: str, values: Mapping[str, str], path: str) -> str:
    """The text with each variable of `values` set; those it has not are added at the end."""
    before = variables(text, path)
    after = text
    for name, value in values.items():
        if before.get(name) == value:
            continue
        try:
            line = f"{name}={quote(value, name)}"
        except EnvFileError as error:
            raise RotationError(f"{path}: {error}") from None
        pattern = re.compile(rf"^[ \t]*{re.escape(name)}[ \t]*=.*$", re.MULTILINE)
        after, found = pattern.subn(line.replace("\\", r"\\"), after)
        if not found:
            after = f"{after.rstrip()}\n{line}\n"
    # A value over two lines, or in a form of its own, is not guessed at.
    if variables(after, path) != {**before, **values}:
        raise RotationError(f"{path}: write each variable on one line of its own")
    return after
