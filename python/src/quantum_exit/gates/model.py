"""What the gates look at, and what they say."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from quantum_exit.binance.model import SymbolRules
from quantum_exit.delegation import Delegation
from quantum_exit.messages import ExitIntent, Plan
from quantum_exit.policy.reader import PolicyState
from quantum_exit.values import PositionSide, Stale, Unknown

DRILL_ACTION: Final = "DRILL"
"""The `action` of a proof's own plans."""
DRILL_NOT_SENT: Final = "drill_not_sent"
"""The error of a registered drill that passed every gate."""
KILL_SWITCH_ACTIVE: Final = "kill_switch_active"


class Lane(StrEnum):
    MAIN = "main"
    MANUAL = "manual"


class Outcome(StrEnum):
    """The `decision` of a result."""

    EXECUTED = "EXECUTED"
    DENIED = "DENIED"
    BLOCKED = "BLOCKED"
    SKIP = "SKIP"
    EXPIRED = "EXPIRED"
    SHADOW = "SHADOW"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a plan is not executed. `error` is the wire's code, with what it names."""

    outcome: Outcome
    error: str


def denied(error: str) -> Denial:
    return Denial(Outcome.DENIED, error)


@dataclass(frozen=True, slots=True)
class ObservedPosition:
    """A position as last observed; fresh when it reaches a gate under this type."""

    amount: Decimal
    mark_price: Decimal | None
    age_s: float
    own_amount: Decimal | None = None
    """What our own fills add up to, when one of them is younger than the observation."""

    @property
    def side(self) -> PositionSide:
        return PositionSide.of(self.amount)


PositionState = ObservedPosition | Stale | Unknown


class Authority(StrEnum):
    """By what right a plan asks. Found once, by the signatures it carries."""

    OWN_SIGNATURE = "OWN_SIGNATURE"
    """Its source signed this very plan."""
    SIGNED_INTENT = "SIGNED_INTENT"
    """The plan carries its source's signed intent."""
    UNSIGNED = "UNSIGNED"
    """Neither; it may still hold a delegation."""

    @property
    def verified(self) -> bool:
        return self is not Authority.UNSIGNED


@dataclass(frozen=True, slots=True)
class Claim:
    """A plan with what its signatures are worth."""

    plan: Plan
    lane: Lane
    authority: Authority
    intent: ExitIntent | None = None
    """The source's intent, present with SIGNED_INTENT only."""
    intent_problem: str = ""
    """Why an embedded intent gives no right, for the log."""
    signs: bool = False
    """Its source's key is known: to exit, it must prove that it is the source."""

    @property
    def identity(self) -> str:
        """Whose plan it is, for deduplication. Plans of one id share it only with the same
        proof, so neither a guess at an id nor an old signed intent can block the owner."""
        name = f"{self.plan.source}:{self.plan.plan_id}"
        if self.intent is not None:
            return intent_identity(self.plan.source, self.plan.plan_id, self.intent.intent_id)
        return f"{'v' if self.authority.verified else 'u'}:{name}"


def intent_identity(source: str, plan_id: str, intent_id: str) -> str:
    """The identity of a plan that carries its source's signed intent."""
    return f"i:{source}:{plan_id}:{hashlib.sha256(intent_id.encode()).hexdigest()[:32]}"


@dataclass(frozen=True, slots=True)
class Limits:
    """Pre-trade limits of one symbol; None is no limit."""

    max_order_value: Decimal | None = None
    price_collar_pct: Decimal | None = None
    max_orders_per_min: int | None = None
    max_repeats: int | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator configured, as far as gates read it."""

    owner: str
    source_allowlist: frozenset[str]
    symbol_allowlist: frozenset[str] | None
    plan_lifetime_s: float
    intent_lifetime_s: float
    limits: Mapping[str, Limits]
    default_limits: Limits

    def limits_of(self, symbol: str) -> Limits:
        return self.limits.get(symbol, self.default_limits)


@dataclass(frozen=True, slots=True)
class Observed:
    """All that was seen of the world for one plan, at `now_epoch`."""

    now_epoch: float
    position: PositionState
    manual_lane_open: bool
    delegation: Delegation | None
    policy: PolicyState
    rules: SymbolRules | Unknown
    mark_price: Decimal | Stale | Unknown
    source_stopped: bool
    orders_last_minute: int
    repeats: int
    """How often the same order of this source was sent within the last minute."""


@dataclass(frozen=True, slots=True)
class Order:
    """What an approved plan may become, before a permit caps its quantity."""

    qty: Decimal
    reduces: bool
    """Sent as reduceOnly, so that it cannot open or flip whatever happens in between."""
    by_owner: bool
