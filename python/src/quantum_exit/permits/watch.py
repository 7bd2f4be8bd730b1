"""Watching the account: a thread that reads all positions every second, and sooner on request.

One call reads every symbol, and one reading serves however many plans wait for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from quantum_exit.binance.clock import ClockUnknown, ExchangeClock
from quantum_exit.binance.errors import ExchangeError, ExchangeRateLimited, ReadFailed
from quantum_exit.binance.model import Position, PositionRows, SymbolConfig
from quantum_exit.binance.rate import RateState
from quantum_exit.permits.bookkeeper import FiredStop
from quantum_exit.permits.stops import StopExchange, fired_among

REFRESH_EVERY_S: Final = 1.0
MIN_GAP_S: Final = 0.2
"""Between two readings on request."""
HURRIES: Final = 30
HURRY_EVERY_S: Final = 2.0
"""Readings on request come out of an allowance: 30 in a row, then one more each 2 s. All
services of a host share the exchange's 2,400 weight a minute; with one reading a second this
one takes at most 450 of it for long, whatever plans, holds and stops ask for."""
CROWDED: Final = 0.7
"""Of that weight; above it nobody but the exit owner is worth a reading before its time."""
SCARCE: Final = 0.85
SCARCE_EVERY_S: Final = 3.0
"""Above that share the account is read this seldom: snapshots are still fresh, at 10 s."""
STOPS_AGAIN_S: Final = 5.0
"""The same stops are not asked about more often than this."""
RETRY_AFTER_S: Final = 0.5
CLOCK_EVERY_S: Final = 30.0
SETTINGS_EVERY_S: Final = 60.0
MAX_CLOCK_OFFSET_MS: Final = 1000


class Exchange(StopExchange, Protocol):
    """What is needed of the exchange's client."""

    clock: ExchangeClock
    rate: RateState

    def position_rows(self) -> PositionRows: ...
    def symbol_configs(self) -> dict[str, SymbolConfig]: ...
    def dual_side(self) -> bool: ...
    def sync_clock(self, samples: int = 2) -> None: ...


@dataclass(frozen=True, slots=True)
class Observation:
    """All positions of the account at one moment between `asked` and `answered`."""

    asked_mono: float
    asked_epoch: float
    """The moment it is as old as: nothing later is promised to be in it."""
    answered_mono: float
    positions: Mapping[str, Position]
    """Without those of amount 0."""
    leverage: Mapping[str, int]
    unreadable: frozenset[str] = frozenset()
    """Symbols whose row could not be read: nothing is known of them at this moment."""


@dataclass(frozen=True, slots=True)
class Account:
    """What the watch knows now."""

    latest: Observation | None = None
    unfit: str = "the exchange has not been read yet"
    """Why nothing may be permitted, though readings may succeed; empty when nothing."""
    trouble: str = ""
    """Why the last reading failed; empty when it did not."""
    credentials_rejected: bool = False
    clock_offset_ms: float = 0.0


@dataclass(slots=True)
class _Settings:
    """What changes seldom."""

    hedge_mode: bool | None = None
    leverage: dict[str, int] = field(default_factory=dict)
    read_mono: float = float("-inf")
    clock_mono: float = float("-inf")


class Allowance:
    """Tokens that grow back with time."""

    def __init__(self, most: int, every_s: float, now_mono: float) -> None:
        self._most, self._every_s = most, every_s
        self._left, self._at = float(most), now_mono

    def take(self, now_mono: float) -> bool:
        """False when none is left."""
        grown = (now_mono - self._at) / self._every_s
        self._left, self._at = min(self._most, self._left + grown), now_mono
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Watch(threading.Thread):
    def __init__(
        self,
        exchange: Exchange,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name="watch", daemon=True)
        self._exchange = exchange
        self._wall = wall
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._wanted = threading.Event()
        self._owner_waits = False
        self._silenced = False
        """The exchange told us to."""
        self._account = Account()
        self._settings = _Settings()
        self._asked_stops: dict[str, tuple[str, ...]] = {}
        self._fired: dict[str, tuple[FiredStop, ...]] = {}
        self._stops_asked_at: dict[tuple[str, tuple[str, ...]], float] = {}
        self._allowance = Allowance(HURRIES, HURRY_EVERY_S, monotonic())

    @property
    def account(self) -> Account:
        with self._changed:
            return self._account

    def request(self, *, by_owner: bool) -> None:
        """Read as soon as the limits allow; sooner where the owner of exits waits for it."""
        self._owner_waits = by_owner
        self._wanted.set()

    def wait_for_newer(self, than: Observation | None, timeout_s: float) -> Account:
        """Returns at the next reading, or after `timeout_s` with what there is."""
        with self._changed:
            self._changed.wait_for(lambda: self._account.latest is not than, timeout_s)
            return self._account

    def ask_for_stops(self, symbol: str, ids: tuple[str, ...]) -> None:
        """What became of these stops? `take_fired` has the answer after a while."""
        question, now = (symbol, ids), self._monotonic()
        with self._changed:
            if now - self._stops_asked_at.get(question, float("-inf")) < STOPS_AGAIN_S:
                return
            self._stops_asked_at = {
                key: at for key, at in self._stops_asked_at.items() if now - at < STOPS_AGAIN_S
            }
            self._stops_asked_at[question] = now
            self._asked_stops[symbol] = ids
        self._wanted.set()

    def take_fired(self) -> dict[str, tuple[FiredStop, ...]]:
        """By symbol, what was asked for and has been answered since; it is told once."""
        with self._changed:
            fired, self._fired = self._fired, {}
            return fired

    def run(self) -> None:
        while True:
            pause_s = self.read_once()
            until = self._monotonic() + pause_s
            if self._silenced:
                time.sleep(pause_s)  # no request breaks that
                continue
            time.sleep(MIN_GAP_S)
            while (left_s := until - self._monotonic()) > 0:
                if not self._wanted.wait(left_s) or self.may_hurry():
                    break
                time.sleep(min(MIN_GAP_S, left_s))  # who asks next may be the owner

    def may_hurry(self) -> bool:
        """Whether a reading before its time may be had for who asks now; it counts as had."""
        if self._exchange.rate.share_used > CROWDED and not self._owner_waits:
            return False
        return self._allowance.take(self._monotonic())

    def read_once(self) -> float:
        """One reading; returns for how long to pause before the next, in seconds."""
        self._wanted.clear()
        self._silenced = False
        try:
            self._read_settings()
            self._read_stops()
            observation = self._read_positions()
        except ReadFailed as error:
            rejected = isinstance(error, ExchangeError) and error.credentials_rejected
            self._publish(trouble=str(error), credentials_rejected=rejected)
            if isinstance(error, ExchangeRateLimited):
                self._silenced = True
                return max(error.retry_after_s, RETRY_AFTER_S)
            return REFRESH_EVERY_S if rejected else RETRY_AFTER_S
        self._publish(latest=observation)
        spent_s = self._monotonic() - observation.asked_mono
        scarce = self._exchange.rate.share_used > SCARCE and not self._owner_waits
        return max(0.0, (SCARCE_EVERY_S if scarce else REFRESH_EVERY_S) - spent_s)

    def _read_settings(self) -> None:
        settings, now = self._settings, self._monotonic()
        if now - settings.clock_mono >= CLOCK_EVERY_S:
            self._exchange.sync_clock()
            settings.clock_mono = now
        if now - settings.read_mono >= SETTINGS_EVERY_S:
            settings.hedge_mode = self._exchange.dual_side()
            self._read_leverage()
            settings.read_mono = now

    def _read_leverage(self) -> None:
        """For people and the snapshots: no reason to know no positions."""
        try:
            configs = self._exchange.symbol_configs()
        except ExchangeError:
            return
        self._settings.leverage = {name: config.leverage for name, config in configs.items()}

    def _read_stops(self) -> None:
        with self._changed:
            asked, self._asked_stops = self._asked_stops, {}
        for symbol, ids in asked.items():
            fired = fired_among(self._exchange, symbol, ids)
            with self._changed:
                self._fired[symbol] = fired

    def _read_positions(self) -> Observation:
        asked_mono, asked_epoch = self._monotonic(), self._wall()
        rows = self._exchange.position_rows()
        answered_mono = self._monotonic()
        if any(row.position_side != "BOTH" for row in rows.positions):
            self._settings.hedge_mode = True
        return Observation(
            asked_mono=asked_mono,
            asked_epoch=asked_epoch,
            answered_mono=answered_mono,
            positions={row.symbol: row for row in rows.positions if row.amount != 0},
            leverage=self._settings.leverage,
            unreadable=rows.unreadable,
        )

    def _publish(
        self,
        *,
        latest: Observation | None = None,
        trouble: str = "",
        credentials_rejected: bool = False,
    ) -> None:
        offset_ms, clock_problem = self._clock()
        unfit = clock_problem
        if self._settings.hedge_mode is not False:
            unfit = (
                "hedge_mode: the account must be in one-way position mode"
                if self._settings.hedge_mode
                else "position_mode_unknown"
            )
        with self._changed:
            self._account = Account(
                latest or self._account.latest, unfit, trouble, credentials_rejected, offset_ms
            )
            if latest is not None:
                self._changed.notify_all()

    def _clock(self) -> tuple[float, str]:
        """By how much the exchange is ahead of us for certain, and what is wrong with that."""
        try:
            least, most = self._exchange.clock.offset_ms(self._wall() * 1000, self._monotonic())
        except ClockUnknown:
            return 0.0, "clock_unknown"
        certain = float(least if least > 0 else min(most, 0))
        if abs(certain) <= MAX_CLOCK_OFFSET_MS:
            return certain, ""
        return certain, f"clock_off: the exchange is {certain:+.0f} ms from this host"
