"""The gates before ownership: age, lane, source, symbol. And `decision`, the plan's own word."""

from __future__ import annotations

from typing import Final

from quantum_exit.gates.effect import may_open
from quantum_exit.gates.model import Claim, Denial, Lane, Observed, Outcome, Settings, denied
from quantum_exit.messages import Decision

CLOCK_SKEW_S: Final = 5.0
"""How far ahead of us a producer's clock may be. A plan from the future would outlive its age."""


def decision(claim: Claim, _seen: Observed, _settings: Settings) -> Denial | None:
    """A plan that came as BLOCKED or SKIP is answered with its own reason, never executed."""
    plan = claim.plan
    if plan.decision is Decision.EXECUTE:
        return None
    return Denial(Outcome(plan.decision.value), plan.reason or "no_reason_given")


def age(claim: Claim, seen: Observed, settings: Settings) -> Denial | None:
    age_s = seen.now_epoch - float(claim.plan.timestamp)
    if age_s > settings.plan_lifetime_s:
        return Denial(Outcome.EXPIRED, f"plan_expired:age_s={age_s:.0f}")
    if age_s < -CLOCK_SKEW_S:
        return Denial(Outcome.EXPIRED, f"plan_expired:timestamp_ahead_s={-age_s:.0f}")
    return None


def lane(claim: Claim, seen: Observed, _settings: Settings) -> Denial | None:
    """The manual lane is open only for a time that a person gave it."""
    if claim.lane is Lane.MANUAL and not seen.manual_lane_open:
        return denied("manual_lane_disabled")
    return None


def source(claim: Claim, seen: Observed, settings: Settings) -> Denial | None:
    """The owner always passes here, whatever the list says: an allowlist that stops every
    exit is how such gates end up switched off. Ownership asks for the signature next."""
    name = claim.plan.source
    if name == settings.owner or name in settings.source_allowlist or _delegated_exit(claim, seen):
        return None
    return denied(f"source_not_allowed:{name}")


def _delegated_exit(claim: Claim, seen: Observed) -> bool:
    """A delegation lists its source too, but as a right to exit: it opens nothing."""
    delegation, plan = seen.delegation, claim.plan
    covered = delegation is not None and delegation.covers(plan.symbol)
    return covered and not may_open(plan, seen.position)


def symbol(claim: Claim, seen: Observed, settings: Settings) -> Denial | None:
    """Limits what may be opened. An exit is possible in any symbol with a position."""
    allowed = settings.symbol_allowlist
    name = claim.plan.symbol
    if allowed is None or name in allowed or not may_open(claim.plan, seen.position):
        return None
    return denied(f"symbol_not_in_allowlist:{name}")
