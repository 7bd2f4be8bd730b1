"""What a plan's signatures are worth: its source's own, its source's intent, or nothing."""

from __future__ import annotations

from quantum_exit.gates.model import Authority, Claim, Lane
from quantum_exit.messages import (
    ExitIntent,
    IntentAction,
    Malformed,
    OrderType,
    Plan,
    parse_embedded_intent,
)
from quantum_exit.signing import INTENT_FIELDS, PLAN_FIELDS, Verifier


def examine(plan: Plan, lane: Lane, owner: str, verifier: Verifier) -> Claim:
    """Whoever uses the owner's name signs, and so does a delegate whose key we know. The
    name of another source is all there is: it gives no right but a delegation's."""
    source = plan.source
    if source != owner and not verifier.knows(source):
        return Claim(plan, lane, Authority.UNSIGNED)
    if "sig" in plan.wire and verifier.verify(source, plan.wire, PLAN_FIELDS):
        return Claim(plan, lane, Authority.OWN_SIGNATURE, signs=True)
    text = plan.wire.get("intent", "")
    problem = "no signature"
    if text:
        intent = parse_embedded_intent(text)
        if isinstance(intent, Malformed):
            problem = intent.error
        elif intent.source != source or not verifier.verify(source, intent.wire, INTENT_FIELDS):
            problem = f"intent not signed by {source}"
        else:
            problem = outside_of_intent(plan, intent)
            if not problem:
                return Claim(plan, lane, Authority.SIGNED_INTENT, intent, signs=True)
    return Claim(plan, lane, Authority.UNSIGNED, intent_problem=problem, signs=True)


def outside_of_intent(plan: Plan, intent: ExitIntent) -> str:
    """How the plan asks for more than was signed; empty when it stays within.

    The fraction of the position and the intent's lifetime are checked by `ownership`,
    which knows the position and the time.
    """
    if plan.symbol != intent.symbol:
        return "symbol differs from the intent"
    if plan.side is not intent.side.exit_order_side:
        return "side differs from the intent"
    if plan.type is not intent.action.order_type:
        return "type differs from the intent"
    if plan.type is OrderType.CANCEL:
        return ""
    if intent.quantity is None or plan.qty > intent.quantity:
        return "quantity above the intent"
    if intent.action is IntentAction.PLACE_STOP and plan.trigger_price != intent.trigger_price:
        return "trigger price differs from the intent"
    return ""
