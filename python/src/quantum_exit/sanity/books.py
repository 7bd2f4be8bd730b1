"""Does the exchange hold what our books say? Pure.

The ledger is what our own fills add up to. A position that others opened, before we came or
by hand, is no fill of ours: its amount is kept beside the ledger as the *baseline*, so that

    exchange = ledger + baseline

holds from then on. The baseline moves in three cases only:

* nothing of ours is in the symbol: the ledger is absent, or the books say flat. What is
  there is the work of others, and is adopted, so that the owner can protect it;
* the exchange agrees with the ledger alone: there is no baseline (any more);
* a person accepted the difference (`exitctl reconcile`).

Every other difference is a mismatch.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from quantum_exit.values import Unknown

LAG_S: Final = 10.0
"""So long the exchange's answer may lack a fill that it has told the executor of."""
_CLOCK_SET_BACK_S: Final = 30.0
"""A ledger this far ahead of an observation was dated by a clock that has been set back since."""


class MismatchKind(StrEnum):
    """The wire's names."""

    SIDE = "reconcile_required_side_mismatch"
    QTY = "reconcile_required_qty_mismatch"


@dataclass(frozen=True, slots=True)
class NoLedger:
    """No fill of ours is on record for the symbol."""


@dataclass(frozen=True, slots=True)
class Ledger:
    amount: Decimal
    """Signed sum of our fills."""
    updated_epoch: float
    """Unix seconds; 0 when it is not said."""
    last_fill: Decimal = Decimal(0)
    """Unsigned."""


LedgerView = Ledger | NoLedger | Unknown


@dataclass(frozen=True, slots=True)
class Agreed:
    """Exchange and books agree, with this baseline from now on."""

    baseline: Decimal


@dataclass(frozen=True, slots=True)
class Mismatch:
    kind: MismatchKind
    exchange: Decimal
    books: Decimal | None
    """None when the ledger cannot be read."""


@dataclass(frozen=True, slots=True)
class Inconclusive:
    """A fill of ours may be in one of the two and not yet in the other."""


Comparison = Agreed | Mismatch | Inconclusive


def compare(exchange: Decimal, ledger: LedgerView, baseline: Decimal) -> Agreed | Mismatch:
    """For amounts that belong to the same moment; see `comparable`."""
    if isinstance(ledger, NoLedger):
        return Agreed(exchange)
    if isinstance(ledger, Unknown):
        return Mismatch(MismatchKind.QTY, exchange, None)
    books = ledger.amount + baseline
    if exchange == ledger.amount:
        return Agreed(Decimal(0))
    if exchange == books:
        return Agreed(baseline)
    if books == 0:
        return Agreed(exchange - ledger.amount)
    kind = MismatchKind.SIDE if exchange * books < 0 else MismatchKind.QTY
    return Mismatch(kind, exchange, books)


def lags(difference: Decimal, ledger: LedgerView, *, now_epoch: float) -> bool:
    """Whether the exchange may only be showing a position as it was before our last fill."""
    if not isinstance(ledger, Ledger) or not ledger.last_fill:
        return False
    return abs(difference) == ledger.last_fill and now_epoch - ledger.updated_epoch < LAG_S


def comparable(ledger: LedgerView, *, order_in_flight: bool, observed_epoch: float) -> bool:
    """Whether a ledger read *after* an observation of the exchange belongs to it.

    `observed_epoch`: when the exchange was asked. The executor writes a grant before it sends
    and moves the ledger in the step that ends the grant. So without an open grant and with a
    ledger older than the observation, no fill is in one of the two only.
    """
    if order_in_flight:
        return False
    if not isinstance(ledger, Ledger) or ledger.updated_epoch <= observed_epoch:
        return True
    return ledger.updated_epoch > observed_epoch + _CLOCK_SET_BACK_S
