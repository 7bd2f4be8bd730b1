"""Keeping the exchange and our books together, symbol by symbol. Pure: it says what to write.

A mismatch that lasts becomes a hold with an alert. A hold of ours ends when the exchange and
the results explain themselves, which is when they agree again, or when a person accepts the
difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

from quantum_exit.sanity.books import (
    LAG_S,
    Agreed,
    Comparison,
    Inconclusive,
    Ledger,
    LedgerView,
    Mismatch,
    comparable,
    compare,
    lags,
)
from quantum_exit.sanity.permit import Hold, Scene

GRACE_S: Final = 2.0
"""A difference must last this long before it counts: a result may be a moment behind the
exchange, and the exchange's answer a moment behind a fill."""


@dataclass(frozen=True, slots=True)
class HoldRecord:
    """A hold as it lies in Redis. Amounts and time are those of our own holds."""

    ours: bool
    exchange: Decimal | None = None
    books: Decimal | None = None
    since_epoch: float = 0.0


@dataclass(frozen=True, slots=True)
class Page:
    """What Redis says of one symbol, read after the exchange was observed."""

    ledger: LedgerView
    baseline: Decimal
    hold: HoldRecord | None
    reconcile_requested: bool
    order_in_flight: bool
    order_unresolved: bool


@dataclass(frozen=True, slots=True)
class FiredStop:
    """A stop of ours on the exchange that became an order."""

    client_id: str
    filled: Decimal
    """Signed: above zero bought, below zero sold."""


@dataclass(frozen=True, slots=True)
class SetBaseline:
    symbol: str
    baseline: Decimal


@dataclass(frozen=True, slots=True)
class PlaceHold:
    symbol: str
    mismatch: Mismatch


@dataclass(frozen=True, slots=True)
class ReleaseHold:
    """The books are right again by themselves."""

    symbol: str


@dataclass(frozen=True, slots=True)
class Reconcile:
    """A person asked for it: the difference is accepted, the hold ends."""

    symbol: str
    baseline: Decimal


@dataclass(frozen=True, slots=True)
class StopFired:
    """Stops of ours that rested on the exchange have filled: that explains the difference."""

    symbol: str
    baseline: Decimal
    client_ids: tuple[str, ...]


Action = SetBaseline | PlaceHold | ReleaseHold | Reconcile | StopFired


@dataclass(slots=True)
class _State:
    comparison: Comparison = field(default_factory=Inconclusive)
    since_epoch: float = 0.0
    """Since when this very mismatch has stood."""
    adopting: Decimal | None = None
    """A baseline that differs from the kept one, and since when."""
    adopting_since_epoch: float = 0.0
    page: Page | None = None
    current: bool = False
    """The last observation has all of our fills in it."""


class Bookkeeper:
    def __init__(self) -> None:
        self._states: dict[str, _State] = {}

    def update(
        self,
        amounts: Mapping[str, Decimal],
        pages: Mapping[str, Page],
        *,
        observed_epoch: float,
        now_epoch: float,
    ) -> list[Action]:
        """Compares every symbol of `pages`; one missing in `amounts` is flat."""
        actions: list[Action] = []
        for symbol, page in pages.items():
            state = self._states.setdefault(symbol, _State())
            state.page = page
            state.current = comparable(
                page.ledger, order_in_flight=page.order_in_flight, observed_epoch=observed_epoch
            )
            if not state.current:
                continue
            amount = amounts.get(symbol, Decimal(0))
            if _lags(amount, page, now_epoch):
                state.current = False
                continue
            actions += _compare(symbol, amount, page, state, now_epoch)
        return actions

    def forget(self, symbols: Iterable[str]) -> None:
        for symbol in symbols:
            self._states.pop(symbol, None)

    def shrunk(self) -> list[str]:
        """Symbols of which the exchange holds less than the books, on the same side or none:
        a stop of ours may have fired."""
        found = []
        for symbol, state in self._states.items():
            seen = state.comparison
            if isinstance(seen, Mismatch) and seen.books is not None:
                shrunk = abs(seen.exchange) < abs(seen.books) and seen.exchange * seen.books >= 0
                found += [symbol] if shrunk else []
        return found

    def explain(self, symbol: str, fired: Sequence[FiredStop]) -> list[Action]:
        """`fired`: stops of ours that have filled, oldest first. One of them, or all of them
        together, may be what the books lack; an older one may be in them already."""
        state = self._states.get(symbol, _State())
        seen, page = state.comparison, state.page
        if not isinstance(seen, Mismatch) or seen.books is None or page is None:
            return []
        for some in (*((stop,) for stop in reversed(fired)), tuple(fired)):
            filled = sum((stop.filled for stop in some), Decimal(0))
            if some and seen.exchange == seen.books + filled:
                baseline = page.baseline + filled
                state.comparison = Agreed(baseline)
                return [StopFired(symbol, baseline, tuple(stop.client_id for stop in some))]
        return []

    def settling(self, symbol: str, now_epoch: float) -> bool:
        """A difference so young that it may still explain itself."""
        state = self._states.get(symbol, _State())
        if state.adopting is not None:
            return True
        return isinstance(state.comparison, Mismatch) and now_epoch - state.since_epoch < GRACE_S

    def scene(self, symbol: str, amount: Decimal, age_s: float, now_epoch: float) -> Scene:
        state = self._states.get(symbol, _State())
        page = state.page
        steady_s = now_epoch - state.since_epoch if isinstance(state.comparison, Mismatch) else 0.0
        return Scene(
            amount=amount,
            age_s=age_s,
            comparison=state.comparison,
            hold=Hold(page.hold.ours) if page and page.hold else None,
            mismatch_steady_s=steady_s,
            current=state.current,
            order_unresolved=page is not None and page.order_unresolved,
        )


def _lags(amount: Decimal, page: Page, now_epoch: float) -> bool:
    if not isinstance(page.ledger, Ledger) or page.reconcile_requested:
        return False
    difference = amount - page.ledger.amount - page.baseline
    return lags(difference, page.ledger, now_epoch=now_epoch)


def _compare(
    symbol: str, amount: Decimal, page: Page, state: _State, now_epoch: float
) -> list[Action]:
    result = compare(amount, page.ledger, page.baseline)
    if page.reconcile_requested:
        accepted = _accepted(amount, page.ledger)
        if accepted is not None:
            state.comparison = Agreed(accepted)
            state.page = replace(page, hold=None, reconcile_requested=False)
            return [Reconcile(symbol, accepted)]
    if isinstance(result, Agreed):
        state.comparison = result
        actions: list[Action] = []
        if result.baseline == page.baseline:
            state.adopting = None
        elif _lasts(result.baseline, page.ledger, state, now_epoch):
            state.adopting = None
            actions.append(SetBaseline(symbol, result.baseline))
        if page.hold is not None and page.hold.ours:
            actions.append(ReleaseHold(symbol))
            state.page = replace(page, hold=None)
        return actions
    state.adopting = None
    if state.comparison != result:
        state.comparison = result
        state.since_epoch = _since(page.hold, result, now_epoch)
    if page.hold is None and now_epoch - state.since_epoch >= GRACE_S:
        return [PlaceHold(symbol, result)]
    return []


def _lasts(baseline: Decimal, ledger: LedgerView, state: _State, now_epoch: float) -> bool:
    """Soon after a fill of ours the exchange must show the new amount for a while: its answer
    may still lack that fill, and would look like a position of others. Until then no plan is
    permitted: its own fill would hide whose the rest was."""
    if not isinstance(ledger, Ledger) or now_epoch - ledger.updated_epoch >= LAG_S:
        return True
    if state.adopting != baseline:
        state.adopting, state.adopting_since_epoch = baseline, now_epoch
    return now_epoch - state.adopting_since_epoch >= GRACE_S


def _accepted(amount: Decimal, ledger: LedgerView) -> Decimal | None:
    """The baseline with which the books are right; none mends an unreadable ledger."""
    if isinstance(ledger, Ledger):
        return amount - ledger.amount
    return amount if not isinstance(compare(amount, ledger, Decimal(0)), Mismatch) else None


def _since(hold: HoldRecord | None, mismatch: Mismatch, now_epoch: float) -> float:
    """A hold of ours remembers through a restart since when this mismatch has stood."""
    if hold is None or not hold.ours:
        return now_epoch
    same = (hold.exchange, hold.books) == (mismatch.exchange, mismatch.books)
    return min(hold.since_epoch, now_epoch) if same and hold.since_epoch else now_epoch
