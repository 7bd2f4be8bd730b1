"""When there is no disk to spool on: each alert is cried out once, straight from memory.

It stays where it came from, unacknowledged, and takes the orderly way when the disk is back; so
it comes twice then, under one id. A full disk is the night on which that is the lesser evil.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Final

from quantum_exit.courier.destinations import Destination
from quantum_exit.courier.http import NotDelivered
from quantum_exit.courier.spool import DEADMAN
from quantum_exit.courier.taken import Taken

log = logging.getLogger("quantum_exit.courier")

_REMEMBERED: Final = 10_000
_AT_ONCE: Final = 3
"""Alerts in one go; a destination that hangs takes some seconds for each, and somebody watches
whether we still move."""


class Emergency:
    def __init__(self, destinations: Iterable[Destination]) -> None:
        self._destinations = [one for one in destinations if one.name != DEADMAN]
        self._cried: dict[str, None] = {}

    def cry(self, alerts: Sequence[Taken]) -> None:
        """Those that were not cried out before. Never raises; one try a destination."""
        new = [one for one in alerts if one.alert_id not in self._cried and not one.is_drill]
        for alert in new[:_AT_ONCE]:
            for destination in self._destinations:
                try:
                    destination.send([alert])
                except NotDelivered as error:
                    log.error("%s: %s, and no disk to keep it on", destination.name, error)
            self._cried[alert.alert_id] = None
        while len(self._cried) > _REMEMBERED:
            del self._cried[next(iter(self._cried))]
