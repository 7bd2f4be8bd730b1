"""All gates, in their order. The first denial is the plan's result.

form        messages.parse_plan
duplicate   the executor, by the identity that `authority` gives the plan
decision … limits   `judge`, below
permit      `permit.permit`, when it has come or its time is over
kill switch the last one, inside the atomic grant (executor/lua/grant.lua)
"""

from __future__ import annotations

from typing import Final

from quantum_exit.gates import steps
from quantum_exit.gates.limits import limits
from quantum_exit.gates.model import Claim, Denial, Observed, Order, Settings
from quantum_exit.gates.ownership import ownership
from quantum_exit.gates.position import position

BEFORE_POSITION: Final = (
    steps.decision,
    steps.age,
    steps.lane,
    steps.source,
    steps.symbol,
    ownership,
)


def right(claim: Claim, seen: Observed, settings: Settings) -> Denial | None:
    """Whether the plan may ask at all, whatever its order."""
    for gate in BEFORE_POSITION:
        denial = gate(claim, seen, settings)
        if denial is not None:
            return denial
    return None


def judge(claim: Claim, seen: Observed, settings: Settings) -> Order | Denial:
    denial = right(claim, seen, settings)
    if denial is not None:
        return denial
    order = position(claim, seen, settings)
    if isinstance(order, Denial):
        return order
    return limits(claim, order, seen, settings) or order
