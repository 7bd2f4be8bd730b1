"""What an order would do to the position, whatever its flag says.

In one-way mode an order on the opposite side closes a position just as well without
`reduceOnly`, and one that is too large flips it.
"""

from __future__ import annotations

from quantum_exit.gates.model import ObservedPosition, PositionState
from quantum_exit.messages import OrderType, Plan


def asks_to_reduce(plan: Plan) -> bool:
    """By its own words. Stops and their cancellation belong to exits too."""
    return plan.reduce_only or plan.type is not OrderType.MARKET


def reduces_by_effect(plan: Plan, position: ObservedPosition) -> bool:
    """Also against our own fills where they are younger than the observation."""
    amounts = [position.amount]
    if position.own_amount is not None:
        amounts.append(position.own_amount)
    return any(amount * plan.side.sign < 0 for amount in amounts)


def may_open(plan: Plan, position: PositionState) -> bool:
    """True unless it certainly reduces: not knowing the position is no leave to open."""
    if asks_to_reduce(plan):
        return False
    return not (isinstance(position, ObservedPosition) and reduces_by_effect(plan, position))
