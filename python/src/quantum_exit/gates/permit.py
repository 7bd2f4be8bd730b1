"""The permit of P3.3: read tolerantly (other systems write it too), obeyed strictly."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

from quantum_exit.gates.model import Claim, Denial, Order, denied

MISSING: Final = denied("p33_permit_missing_or_denied")
PERMIT_LIFETIME_S: Final = 60.0
_TRUE: Final = frozenset({"true", "1"})


@dataclass(frozen=True, slots=True)
class Permit:
    allow: bool
    safe_qty: Decimal | None
    """None: not given. Zero on an opening plan means: as asked."""
    symbol: str
    reason: str
    created_at: float | None
    source: str
    """Whose plan it was written for; empty in permits of other systems."""
    entry: str = ""
    """Of P3.3's own: `stream/entry_id` of the entry it was written for."""
    verified: bool = False
    """Of P3.3's own: that entry's source was proven."""


def parse_permit(value: bytes | str | Mapping[str, object]) -> Permit | None:
    """A JSON object or the fields of a hash. None when it is neither."""
    document: object = value
    if isinstance(value, bytes | str):
        try:
            document = json.loads(value, parse_float=str)  # exact, and of any size
        except (ValueError, RecursionError):
            return None
    if not isinstance(document, Mapping) or "allow" not in document:
        return None
    allow = document["allow"]
    return Permit(
        allow=allow is True or str(allow).strip().lower() in _TRUE,
        safe_qty=_decimal(document.get("safe_qty")),
        symbol=sys.intern(str(document.get("symbol", ""))),
        reason=str(document.get("reason", ""))[:200],
        created_at=_seconds(document.get("created_at")),
        source=sys.intern(str(document.get("source", ""))),
        entry=f"{document['stream']}/{document['entry_id']}"
        if "stream" in document and "entry_id" in document
        else "",
        verified=document.get("verified") is True,
    )


def permit_for(claim: Claim, stream: str, entry_id: str, found: Permit | None) -> Permit | None:
    """The permit, unless it was written for another entry that only claimed to be of this
    plan's source: whoever guesses an id would else rule on the plan it belongs to."""
    if found is None or not claim.authority.verified or found.verified or not found.entry:
        return found
    return found if found.entry == f"{stream}/{entry_id}" else None


def permit(claim: Claim, order: Order, found: Permit | None, now_epoch: float) -> Order | Denial:
    """The order with its final quantity, before rounding. A permit for another symbol or
    another source's plan is none."""
    if found is None or (found.symbol and found.symbol != claim.plan.symbol):
        return MISSING
    if found.source and found.source != claim.plan.source:
        return MISSING
    if not found.allow:
        return denied(f"p33_permit_denied:{found.reason or 'no_reason_given'}")
    if found.created_at is not None and now_epoch - found.created_at > PERMIT_LIFETIME_S:
        return MISSING
    safe_qty = found.safe_qty
    if safe_qty is None or safe_qty < 0:
        return MISSING
    if safe_qty == 0:
        return denied("quantity_below_step") if order.reduces and order.qty else order
    return Order(min(order.qty, safe_qty), order.reduces, order.by_owner)


def _decimal(value: object) -> Decimal | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _seconds(value: object) -> float | None:
    number = _decimal(value)
    return None if number is None else float(number)
