"""How a rotation fails."""

from __future__ import annotations


class RotationError(Exception):
    """What is wrong and how to mend it, in one line. The text never holds a secret."""


class Locked(RotationError):
    """Somebody else changes secrets of this host just now."""


def told(error: Exception) -> str:
    """An error in words that hold no secret: of those that are not ours only the kind."""
    if isinstance(error, RotationError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    frame = error.__traceback__
    while frame and frame.tb_next:
        frame = frame.tb_next
    code = frame.tb_frame.f_code if frame else None
    at = f" in {code.co_qualname}" if code else ""
    return f"{type(error).__name__}{at}"
