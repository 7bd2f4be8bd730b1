"""What was sent within the last minute, for the limits that count orders."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from decimal import Decimal
from typing import Final

from quantum_exit.messages import Plan

WINDOW_S: Final = 60.0
_MOST_SHAPES: Final = 2_000  # above what the exchange takes in a minute
OrderShape = tuple[str, str, str, str, Decimal, Decimal | None]


def shape_of(plan: Plan) -> OrderShape:
    """Two orders of one source are the same when all of this is."""
    return (plan.source, plan.symbol, plan.side, plan.type, plan.qty, plan.trigger_price)


class Tape:
    """Thread-safe. Forgets what is older than the window, and so stays small."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_symbol: dict[str, deque[float]] = defaultdict(deque)
        self._by_shape: dict[OrderShape, deque[float]] = defaultdict(deque)

    def record(self, plan: Plan, now_mono: float) -> None:
        with self._lock:
            self._by_symbol[plan.symbol].append(now_mono)
            self._by_shape[shape_of(plan)].append(now_mono)
            if len(self._by_shape) > _MOST_SHAPES:
                self._forget(now_mono)

    def orders_last_minute(self, symbol: str, now_mono: float) -> int:
        with self._lock:
            return _count(self._by_symbol.get(symbol), now_mono)

    def repeats(self, plan: Plan, now_mono: float) -> int:
        if not self._by_shape:
            return 0
        with self._lock:
            return _count(self._by_shape.get(shape_of(plan)), now_mono)

    def _forget(self, now_mono: float) -> None:
        for shape in [s for s, times in self._by_shape.items() if not _count(times, now_mono)]:
            del self._by_shape[shape]


def _count(times: deque[float] | None, now_mono: float) -> int:
    if not times:
        return 0
    while times and now_mono - times[0] > WINDOW_S:
        times.popleft()
    return len(times)
