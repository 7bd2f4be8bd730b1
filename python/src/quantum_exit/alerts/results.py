"""The results' stream from a place on, a page at a time, however many there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import redis

from quantum_exit import keys

_PAGE: Final = 1000


@dataclass(slots=True)
class Results:
    """Those after `cursor`, which moves along as they are read, up to the entry `until`."""

    bus: redis.Redis
    cursor: str
    until: str = "+"
    read: int = 0

    def __iter__(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Raises redis.RedisError."""
        while True:
            after = f"({self.cursor}"
            page = cast(
                "list[Any]", self.bus.xrange(keys.APPLY_RESULT, after, self.until, count=_PAGE)
            )
            if not page:
                return
            self.cursor = page[-1][0]
            self.read += len(page)
            yield from page


def newest(bus: redis.Redis) -> tuple[str, int]:
    """The newest id that the results' stream ever had, and how many entries it took."""
    try:
        info: Any = bus.xinfo_stream(keys.APPLY_RESULT)
    except redis.ResponseError:
        return "0-0", 0
    return str(info["last-generated-id"]), int(info["entries-added"])
