"""What the brain sees of the exchange: in each cycle one look at all positions, with prices."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from quantum_exit.binance.clock import ExchangeClock
from quantum_exit.binance.errors import ReadFailed
from quantum_exit.binance.model import AlgoAck, AlgoNotFound, Kline, Position, PositionRows

log = logging.getLogger("quantum_exit.brain")

CLOCK_EVERY_S: Final = 15.0
DUAL_SIDE_EVERY_S: Final = 60.0
"""Asking weighs 30. Hedge positions show by themselves, in each cycle."""
STOP_LIST_EVERY_S: Final = 60.0
"""Asking weighs 40."""


class Exchange(Protocol):
    """The part of the exchange's client that the brain uses. All raise `ReadFailed`."""

    clock: ExchangeClock

    def position_rows(self) -> PositionRows: ...
    def dual_side(self) -> bool: ...
    def klines(self, symbol: str, interval: str, limit: int = 500) -> list[Kline]: ...
    def sync_clock(self, samples: int = 2) -> None: ...
    def open_algo_orders(self, symbol: str | None = None) -> list[AlgoAck]: ...
    def query_algo(self, client_algo_id: str) -> AlgoAck | AlgoNotFound: ...


class NotReadyError(Exception):
    """The brain must not act now; the text is the status line."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Positions that are not flat, by symbol, each with its mark price.

    The prices are those of the same answer: asking for them apart weighs twice as much as the
    positions themselves, of a limit that all services of a host share.
    """

    positions: Mapping[str, Position]
    unreadable: frozenset[str] = frozenset()
    """Symbols that the answer names and does not tell of: they are held as they were."""


@dataclass(frozen=True, slots=True)
class StopList:
    """Every conditional order that rests on the exchange."""

    orders: tuple[AlgoAck, ...]


class World:
    """`recv_window_ms`: by more than this the local clock may not be off."""

    def __init__(
        self,
        exchange: Exchange,
        recv_window_ms: int,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._exchange = exchange
        self._recv_window_ms = recv_window_ms
        self._wall = wall
        self._monotonic = monotonic
        self._next_sync = -1.0
        self._next_dual_side = -1.0
        self._next_stop_list = -1.0
        self._was_one_way = False
        self._unreadable: frozenset[str] = frozenset()

    def look(self) -> Seen:
        """Raises `ReadFailed`, or NotReadyError when the clock or the position mode is wrong."""
        self._check_clock()
        self._check_position_mode()
        rows = self._exchange.position_rows()
        if any(p.position_side != "BOTH" and p.amount for p in rows.positions):
            self._next_dual_side = -1.0
            self._was_one_way = False
            raise NotReadyError(HEDGE_MODE)
        if rows.unreadable != self._unreadable:
            held = ", ".join(sorted(rows.unreadable))
            if held:
                log.error("positions that cannot be read, and are held as they were: %s", held)
            else:
                log.info("all positions can be read again")
            self._unreadable = rows.unreadable
        return Seen({p.symbol: p for p in rows.positions if p.amount}, rows.unreadable)

    def stop_list(self) -> StopList | None:
        """None between two askings, and when it could not be had: it only tidies up."""
        now = self._monotonic()
        if now < self._next_stop_list:
            return None
        self._next_stop_list = now + STOP_LIST_EVERY_S
        try:
            return StopList(tuple(self._exchange.open_algo_orders()))
        except ReadFailed as error:
            log.warning("the exchange's list of resting stops could not be read: %s", error)
            return None

    def _check_clock(self) -> None:
        now = self._monotonic()
        if now >= self._next_sync or not self._exchange.clock.fresh(now):
            try:
                self._exchange.sync_clock()
            except ReadFailed as error:
                if not self._exchange.clock.fresh(now):
                    raise
                # The last reading still bounds it: the stops go on.
                log.warning("the exchange's clock could not be read again: %s", error)
            self._next_sync = self._monotonic() + CLOCK_EVERY_S
        least, most = self._exchange.clock.offset_ms(self._wall() * 1000, self._monotonic())
        off_ms = least if least > 0 else min(most, 0)
        if abs(off_ms) > self._recv_window_ms:
            self._next_sync = -1.0  # a clock that is being put right is noticed at once
            direction = "behind" if off_ms > 0 else "ahead of"
            raise NotReadyError(
                f"clock off by {abs(off_ms)} ms: it is {direction} the exchange's, "
                f"at most {self._recv_window_ms} ms are allowed"
            )

    def _check_position_mode(self) -> None:
        now = self._monotonic()
        if now < self._next_dual_side:
            return
        try:
            is_hedge = self._exchange.dual_side()
        except ReadFailed as error:
            if not self._was_one_way:
                raise
            # What was switched since shows in the positions themselves: the stops go on.
            log.warning("the position mode could not be asked for again: %s", error)
            is_hedge = False
        self._was_one_way = not is_hedge
        if is_hedge:
            raise NotReadyError(HEDGE_MODE)
        self._next_dual_side = now + DUAL_SIDE_EVERY_S


HEDGE_MODE: Final = (
    "hedge mode: the account holds long and short at once (dualSidePosition=true); "
    "switch it to one-way mode"
)
