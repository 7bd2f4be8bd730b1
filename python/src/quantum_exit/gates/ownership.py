"""Only the exit owner reduces a position, or who holds a delegation for the symbol."""

from __future__ import annotations

from quantum_exit.delegation import Delegation
from quantum_exit.gates.effect import asks_to_reduce, reduces_by_effect
from quantum_exit.gates.model import (
    Authority,
    Claim,
    Denial,
    Observed,
    ObservedPosition,
    Settings,
    denied,
)
from quantum_exit.gates.steps import CLOCK_SKEW_S
from quantum_exit.messages import OrderType, Plan


def ownership(claim: Claim, seen: Observed, settings: Settings) -> Denial | None:
    plan = claim.plan
    if plan.source == settings.owner:
        return _proven(claim, seen, settings)  # for opening too
    if not asks_to_reduce(plan) and not (
        isinstance(seen.position, ObservedPosition) and reduces_by_effect(plan, seen.position)
    ):
        return None
    if seen.delegation is None or not _covers(seen.delegation, plan):
        return denied(f"NOT_EXIT_OWNER:source={plan.source}")
    return _proven(claim, seen, settings) if claim.signs else None


def _covers(delegation: Delegation, plan: Plan) -> bool:
    """A cancellation names a stop, and its plan any symbol: who may exit in one symbol could
    take the stops of all others."""
    if plan.type is OrderType.CANCEL and delegation.symbol is not None:
        return False
    return delegation.covers(plan.symbol)


def _proven(claim: Claim, seen: Observed, settings: Settings) -> Denial | None:
    """Signed by its source, and within what was signed."""
    unverified = denied(f"SOURCE_UNVERIFIED:source={claim.plan.source}")
    if claim.authority is Authority.UNSIGNED:
        return unverified
    intent = claim.intent
    if intent is None:
        return None
    age_s = seen.now_epoch - float(intent.ts_epoch)
    if not -CLOCK_SKEW_S <= age_s <= settings.intent_lifetime_s:
        return unverified
    if intent.qty_fraction is None or claim.plan.type is not OrderType.MARKET:
        return None
    position = seen.position
    if isinstance(position, ObservedPosition) and position.amount:
        allowed = intent.qty_fraction * max(abs(position.amount), intent.quantity or 0)
        if claim.plan.qty > allowed:
            return unverified
    return None
