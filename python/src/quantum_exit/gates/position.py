"""From a plan and the observed position to the order it may become."""

from __future__ import annotations

from decimal import Decimal

from quantum_exit.binance.filters import reducing_quantity, trigger_price
from quantum_exit.binance.model import SymbolRules
from quantum_exit.gates.effect import asks_to_reduce, reduces_by_effect
from quantum_exit.gates.model import (
    Authority,
    Claim,
    Denial,
    Observed,
    ObservedPosition,
    Order,
    Settings,
    denied,
)
from quantum_exit.messages import OrderType, Plan
from quantum_exit.values import OrderSide


def position(claim: Claim, seen: Observed, settings: Settings) -> Order | Denial:
    """A signed exit intent is no right to open: its plan reduces or does nothing."""
    plan = claim.plan
    observed = seen.position
    by_owner = plan.source == settings.owner
    if not isinstance(observed, ObservedPosition):
        return denied("position_stale")
    if plan.type is OrderType.CANCEL:
        return Order(Decimal(0), reduces=True, by_owner=by_owner)
    reduces = (
        asks_to_reduce(plan)
        or claim.authority is Authority.SIGNED_INTENT
        or reduces_by_effect(plan, observed)
    )
    if not reduces:
        return Order(plan.qty, reduces=False, by_owner=by_owner)
    if observed.amount == 0:
        # A fill of our own is younger than this zero: it proves nothing any more.
        return denied("position_stale" if observed.own_amount else "already_flat")
    if observed.side.exit_order_side is not plan.side:
        return denied("position_side_mismatch")
    qty = sendable(min(plan.qty, _most(claim, observed)), seen)
    if isinstance(qty, Denial):
        return qty
    return Order(qty, reduces=True, by_owner=by_owner)


def _most(claim: Claim, observed: ObservedPosition) -> Decimal:
    """Never more than the position, and of it never more than the signed fraction."""
    held = abs(observed.amount)
    intent = claim.intent
    if intent is None or intent.qty_fraction is None or not intent.quantity:
        return held
    return min(held, intent.qty_fraction * max(held, intent.quantity))


def sendable(qty: Decimal, seen: Observed) -> Decimal | Denial:
    """A reduction rounded down to the step. With the filters unknown the exchange has the
    last word: an exit is not given up for want of a step."""
    if not isinstance(seen.rules, SymbolRules):
        return qty
    rounded = reducing_quantity(qty, seen.rules)
    return rounded if isinstance(rounded, Decimal) else denied(rounded.code)


def trigger_on_tick(plan: Plan, seen: Observed) -> Decimal | Denial | None:
    """A stop's trigger as the exchange takes it: it refuses a price between two ticks. Never
    closer to the market than was signed. None for an order without one."""
    if plan.trigger_price is None or not isinstance(seen.rules, SymbolRules):
        return plan.trigger_price
    price = trigger_price(plan.trigger_price, seen.rules, below=plan.side is OrderSide.SELL)
    return price if isinstance(price, Decimal) else denied(price.code)
