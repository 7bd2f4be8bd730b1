"""The average true range of symbols whose stop needs it: at most one request a cycle."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final

from quantum_exit.binance.errors import ReadFailed
from quantum_exit.brain.track import Track
from quantum_exit.brain.world import Exchange
from quantum_exit.exits.params import HarvestParams
from quantum_exit.exits.rules import average_true_range

log = logging.getLogger("quantum_exit.brain")

INTERVAL: Final = "1m"
_AGAIN_AFTER_S: Final = 30.0


class AtrSource:
    """Until a symbol's range is known its fixed stop holds, which is the wider one."""

    def __init__(self, exchange: Exchange, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._exchange = exchange
        self._monotonic = monotonic
        self._not_before: dict[str, float] = {}

    def for_tracks(self, tracks: Mapping[str, Track], params: HarvestParams) -> dict[str, Decimal]:
        """The range of one more symbol that needs it; empty when none does."""
        now = self._monotonic()
        for symbol, track in tracks.items():
            own = params.for_symbol(symbol)
            if own.stop_loss_atr_multiple is None or track.rules.atr is not None:
                continue
            if now < self._not_before.get(symbol, now):
                continue
            self._not_before[symbol] = now + _AGAIN_AFTER_S
            atr = self._read(symbol, own.atr_period)
            return {symbol: atr} if atr else {}
        return {}

    def _read(self, symbol: str, period: int) -> Decimal | None:
        """None when it could not be had: a missing range must not cost the cycle."""
        try:
            # The last one is still open, the first gives the close before the first range.
            klines = self._exchange.klines(symbol, INTERVAL, period + 2)[:-1]
        except ReadFailed as error:
            log.warning("no average true range for %s yet: %s", symbol, error)
            return None
        return average_true_range(((k.high, k.low, k.close) for k in klines), period)
