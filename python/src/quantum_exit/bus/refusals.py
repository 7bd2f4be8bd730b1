"""What Redis answers instead of doing a command. Without a client: what starts fast asks too."""

from __future__ import annotations


def is_wrong_type(error: object) -> bool:
    """Whether Redis refused a command because a key of another type lies in its key's place.

    `error` is the answer to that command alone. A pipeline that raises puts the command's own
    words, and so a producer's, before what Redis said.
    """
    return isinstance(error, Exception) and str(error).startswith("WRONGTYPE")
