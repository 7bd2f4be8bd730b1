"""A plan stream that takes no entry any more, and how it is begun anew.

Whoever may write plans may give an entry the last id there is. Redis then refuses every other,
the owner's exits among them, for as long as the stream exists.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import redis

from quantum_exit.bus.connection import RedisClient

KEPT: Final = "quantum:executor:replaced_stream"
"""The stream before, for whoever looks into it."""
_MADE: Final = "quantum:executor:new_stream"
_TOO_LATE_MS: Final = 1 << 62
"""As in renew.lua."""
_SCRIPT: Final = (Path(__file__).with_name("lua") / "renew.lua").read_text()


class StreamUsedUpError(redis.ResponseError):
    """It ends the session; the next one begins the stream anew."""


def refuse_the_last(stream: str, entry_id: bytes) -> None:
    """Raises StreamUsedUpError for an id that no clock gave."""
    if int(entry_id.partition(b"-")[0]) >= _TOO_LATE_MS:
        raise StreamUsedUpError(f"{stream} takes no entry any more: it is begun anew")


def renew(client: RedisClient, stream: str, group: str) -> int | None:
    """How many unanswered entries were carried over; None when the stream is well. The new one
    has the same groups, from its first entry on."""
    carried: Any = client.eval(_SCRIPT, 3, stream, KEPT, _MADE, group)
    return None if int(carried) < 0 else int(carried)
