"""P3.3's rules: may this plan be sent, as far as positions can tell? Pure.

It does not ask who sent the plan; ownership is the executor's gate. One exception: a hold
that stands for long gives way to the owner's verified exits (see `OWNER_WAITS_S`).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from quantum_exit.messages import OrderType, Plan
from quantum_exit.sanity.books import Comparison, Mismatch
from quantum_exit.sanity.snapshot import STALE_AFTER_S
from quantum_exit.values import PositionSide

OWNER_WAITS_S: Final = 30.0
"""How long a hold of ours stops the owner's exits. It exists so that nothing is sent while it
is unclear what we hold. Once the exchange has shown the same amount for this long, that is
what we hold: an exit bounded by it can only reduce. A hold that nobody resolves at night must
not keep a position without its stop until the morning. Everything else stays held."""

AS_ASKED: Final = Decimal(0)
"""The `safe_qty` of an opening plan."""


@dataclass(frozen=True, slots=True)
class Hold:
    ours: bool
    """False: written by somebody else, who alone knows what ends it."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What is known of a plan's symbol. Ages in seconds."""

    amount: Decimal
    age_s: float
    comparison: Comparison
    hold: Hold | None = None
    mismatch_steady_s: float = 0.0
    """For how long the books have been wrong by the same amount."""
    current: bool = True
    """False: a fill of ours may be younger than the amount."""
    order_unresolved: bool = False
    """An order of ours was sent and nobody knows yet what became of it."""


@dataclass(frozen=True, slots=True)
class NeverObserved:
    pass


@dataclass(frozen=True, slots=True)
class Allowed:
    safe_qty: Decimal
    reason: str = "sanity_checks_passed"


@dataclass(frozen=True, slots=True)
class Refused:
    reason: str


def reduces(plan: Plan, amount: Decimal) -> bool:
    """By its flag or by its effect."""
    if plan.reduce_only or plan.type is not OrderType.MARKET:
        return True
    return amount * plan.side.sign < 0


def judge(plan: Plan, scene: Scene | NeverObserved, *, by_owner: bool) -> Allowed | Refused:
    """`by_owner`: its signatures prove that the owner asked for it."""
    if isinstance(scene, NeverObserved) or not -STALE_AFTER_S <= scene.age_s <= STALE_AFTER_S:
        return Refused("stale_exchange_state")
    if plan.type is OrderType.CANCEL:
        # It moves no position, and the stops of flat symbols are swept.
        return Allowed(plan.qty)
    reducing = reduces(plan, scene.amount)
    if reducing and scene.amount == 0:
        return Refused("no_position")
    if reducing and PositionSide.of(scene.amount).exit_order_side is not plan.side:
        return Refused("reconcile_required_side_mismatch")
    why = _disputed(scene)
    owner_passes = by_owner and reducing and _owner_waited(scene)
    if why and not owner_passes:
        return Refused(why)
    if scene.order_unresolved:
        return Refused("cooldown")
    if not reducing:
        return Allowed(AS_ASKED)
    safe_qty = min(plan.qty, abs(scene.amount))
    return Allowed(safe_qty, "owner_exit_despite_hold") if why else Allowed(safe_qty)


def _disputed(scene: Scene) -> str:
    if isinstance(scene.comparison, Mismatch):
        return scene.comparison.kind.value
    return "reconcile_hold_active" if scene.hold is not None else ""


def _owner_waited(scene: Scene) -> bool:
    if scene.hold is not None and not scene.hold.ours:
        return False
    return scene.mismatch_steady_s >= OWNER_WAITS_S


def needs_another_look(scene: Scene | NeverObserved, verdict: Allowed | Refused) -> bool:
    """Whether a newer observation may turn the verdict."""
    if isinstance(verdict, Refused):
        return not (isinstance(scene, Scene) and scene.hold is not None and not scene.hold.ours)
    return isinstance(scene, NeverObserved) or not scene.current
