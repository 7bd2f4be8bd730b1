"""One lane a symbol: orders of one symbol keep their order, different symbols do not wait
for each other. Of the symbols that are ready, exits go before entries."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import deque

from quantum_exit.executor.work import Work


class Lanes:
    """Thread-safe. A symbol is busy from the moment its work is taken until `release`."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[str, deque[Work]] = {}
        self._busy: set[str] = set()
        self._ready: list[tuple[int, int, Work]] = []
        self._sequence = itertools.count()
        self._closed = False

    def submit(self, work: Work) -> None:
        """Queue behind the symbol's other orders."""
        with self._changed:
            if work.symbol in self._busy:
                work.seen = None  # too old by then, and thousands may wait
                self._waiting.setdefault(work.symbol, deque()).append(work)
            else:
                self._start(work)

    def hold(self, symbol: str) -> None:
        """Keep a symbol busy without work of its own: an order of it is still unknown."""
        with self._changed:
            self._busy.add(symbol)

    def resume(self, work: Work) -> None:
        """Ready again after a pause; its symbol was busy all the while."""
        with self._changed:
            self._start(work)

    def next_of(self, symbol: str, behind: Work | None = None) -> Work | None:
        """What `release` of this busy symbol will make ready, or what comes behind that. Nobody
        else touches it till then."""
        with self._changed:
            queue = self._waiting.get(symbol, ())
            place = 0 if behind is None else 1
            return queue[place] if len(queue) > place else None

    def may_go_on(self) -> bool:
        """Whether a symbol may keep its thread: no other one waits for a thread."""
        with self._changed:
            return not self._ready and not self._closed

    def go_on(self, work: Work) -> None:
        """The symbol stays busy with this, what `next_of` told."""
        with self._changed:
            queue = self._waiting[work.symbol]
            if queue.popleft() is not work:
                raise RuntimeError(f"the lane of {work.symbol} has another plan at its head")
            if not queue:
                del self._waiting[work.symbol]

    def release(self, symbol: str) -> None:
        """The symbol's order has ended: its next one is ready."""
        with self._changed:
            queue = self._waiting.get(symbol)
            if queue:
                self._start(queue.popleft())
                if not queue:
                    del self._waiting[symbol]
            else:
                self._busy.discard(symbol)

    def take(self) -> Work | None:
        """Blocks until some work is ready; None once closed."""
        with self._changed:
            while not self._ready and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            return heapq.heappop(self._ready)[2]

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _start(self, work: Work) -> None:
        self._busy.add(work.symbol)
        rank = 0 if work.order.reduces else 1
        heapq.heappush(self._ready, (rank, next(self._sequence), work))
        self._changed.notify()
