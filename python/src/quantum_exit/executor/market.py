"""The executor's view of the exchange beside its orders: filters, marks, leverage, clock, mode.

A background thread refreshes it; the order path only reads it. Each part has its own age,
and a part that is too old is not there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final

from quantum_exit.binance.client import Client
from quantum_exit.binance.errors import ExchangeError, ReadFailed
from quantum_exit.binance.model import SymbolRules
from quantum_exit.values import Stale, Unknown

MARK_STALE_S: Final = 10.0
_MARKS_EVERY_S: Final = 4.0
"""A look at all marks weighs 10 of the 2,400 a minute that all services of a host share."""
_MARKS_UP_TO: Final = 0.85
"""Of the weight that all share. Above it the marks go stale and nothing opens; exits need none."""
_CLOCK_EVERY_S: Final = 10.0
_RULES_EVERY_S: Final = 3_600.0
_ACCOUNT_EVERY_S: Final = 300.0
_RETRY_S: Final = 1.0
HEDGE_MODE: Final = "hedge mode (dualSidePosition=true): switch the account to one-way mode"

log = logging.getLogger(__name__)


class Market:
    """Written by one thread, read by many: each attribute is replaced as a whole."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._rules: Mapping[str, SymbolRules] = {}
        self._marks: Mapping[str, Decimal] = {}
        self._marks_at = float("-inf")
        self._leverage: dict[str, int] = {}
        self.not_ready: str = "the exchange has not been read yet"
        """Why no order may be sent; empty when one may."""
        self.rejected: str = ""
        """What the exchange said when it refused our key; empty since it last took it."""

    def rules(self, symbol: str) -> SymbolRules | Unknown:
        return self._rules.get(symbol) or Unknown("not in exchangeInfo")

    def mark(self, symbol: str) -> Decimal | Stale | Unknown:
        age_s = self._monotonic() - self._marks_at
        mark = self._marks.get(symbol)
        if mark is None:
            return Unknown("no mark price")
        return mark if age_s <= MARK_STALE_S else Stale(age_s)

    def leverage(self, symbol: str) -> int | None:
        return self._leverage.get(symbol)

    def set_leverage(self, symbol: str, leverage: int) -> None:
        self._leverage[symbol] = leverage

    # Written by the refresher only

    def take_rules(self, rules: Mapping[str, SymbolRules]) -> None:
        self._rules = rules

    def take_marks(self, marks: Mapping[str, Decimal]) -> None:
        self._marks = marks
        self._marks_at = self._monotonic()

    def take_leverage(self, leverage: Mapping[str, int]) -> None:
        self._leverage = dict(leverage)


class Refresher:
    """Keeps a Market fresh from one client, until `stop` is set."""

    def __init__(
        self,
        market: Market,
        client: Client,
        stop: threading.Event,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._market = market
        self._client = client
        self._stop = stop
        self._monotonic = monotonic
        self._due: dict[str, float] = {}
        self._hedge = False

    def run(self) -> None:
        while not self._stop.is_set():
            self._stop.wait(_MARKS_EVERY_S if self.refresh() else _RETRY_S)

    def refresh(self) -> bool:
        """Reads what is due. False when the exchange could not be read."""
        try:
            self._every("clock", _CLOCK_EVERY_S, self._client.sync_clock)
            self._every("mode", _ACCOUNT_EVERY_S, self._read_mode)
        except ReadFailed as error:
            self._market.not_ready = f"exchange: {error}"
            if isinstance(error, ExchangeError) and error.credentials_rejected:
                self._market.rejected = f"{error.code}: {error.msg}"
            self._due.pop("clock", None)
            return False
        self._market.not_ready = HEDGE_MODE if self._hedge else ""
        return self._read_the_rest()

    def _read_the_rest(self) -> bool:
        """What entries need and exits can do without: it makes nobody wait. Whether the
        exchange is there at all is asked anew at once."""
        try:
            self._every("rules", _RULES_EVERY_S, self._read_rules)
            self._every("leverage", _ACCOUNT_EVERY_S, self._read_leverage)
            if self._client.rate.share_used < _MARKS_UP_TO:
                self._every("marks", _MARKS_EVERY_S / 2, self._read_marks)
        except ReadFailed as error:
            log.warning("the exchange was not read in full: %s", error)
            self._due.pop("clock", None)
            return False
        return True

    def _every(self, name: str, interval_s: float, read: Callable[[], object]) -> None:
        now = self._monotonic()
        if now >= self._due.get(name, 0.0):
            read()
            self._due[name] = now + interval_s

    def _read_mode(self) -> None:
        self._hedge = self._client.dual_side()
        self._market.rejected = ""

    def _read_rules(self) -> None:
        self._market.take_rules(self._client.exchange_info())

    def _read_leverage(self) -> None:
        configs = self._client.symbol_configs()
        self._market.take_leverage({name: c.leverage for name, c in configs.items()})

    def _read_marks(self) -> None:
        self._market.take_marks(self._client.mark_prices())
