"""Which exit intents become plans. Pure: what was observed is passed in.

This is the first of three layers, and a courtesy: it refuses what is certainly wrong, early
and with a reason. What it cannot be certain of it lets pass, because P3.3 and the executor
look again, closer to the order, and an exit refused for want of knowledge is a loss.
The policy refuses no exit: protective exits go on when it is missing or stale.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from quantum_exit.delegation import Delegation
from quantum_exit.messages import ExitIntent, IntentAction, Malformed
from quantum_exit.sanity.snapshot import PositionView, SeenPosition
from quantum_exit.signing import INTENT_FIELDS, Verifier
from quantum_exit.values import PositionSide

CLOCK_SKEW_S: Final = 5.0
"""How far ahead of us an intent's clock may be; further, and it would outlive its lifetime."""


class Verdict(StrEnum):
    """What was decided; also the name under which it is counted."""

    PLANNED = "planned"
    INVALID = "blocked_invalid"
    NOT_OWNER = "blocked_not_owner"
    UNVERIFIED = "blocked_unverified"
    EXPIRED = "blocked_expired"
    NO_POSITION = "blocked_no_position"
    WRONG_SIDE = "blocked_wrong_side"


@dataclass(frozen=True, slots=True)
class Judgement:
    verdict: Verdict
    reason: str
    """Of the plan: the intent's own, or why it is blocked."""
    by_right: bool
    """It proved to come from the owner or from a delegate. Only then is its id reserved:
    nobody else can use up an id of the owner's."""
    certain: bool = True
    """False: the observation is older than the intent, a newer one may show otherwise."""


@dataclass(frozen=True, slots=True)
class Rules:
    owner: str
    verifier: Verifier
    lifetime_s: float

    def judge(
        self,
        intent: ExitIntent | Malformed,
        *,
        delegation: Delegation | None,
        position: PositionView,
        now_epoch: float,
    ) -> Judgement:
        """`delegation`: that of the intent's source, if any; `position`: of its symbol."""
        if isinstance(intent, Malformed):
            return Judgement(Verdict.INVALID, f"invalid_intent:{intent.error}", by_right=False)
        return (
            self._source(intent, delegation)
            or self._lifetime(intent, now_epoch)
            or _position(intent, position)
            or Judgement(Verdict.PLANNED, intent.reason, by_right=True)
        )

    def _source(self, intent: ExitIntent, delegation: Delegation | None) -> Judgement | None:
        """The owner signs. A delegate signs too if we know its key; otherwise its name is
        all there is, and the person who delegated to it accepted that."""
        source = intent.source
        delegated = delegation is not None and delegation.covers(intent.symbol)
        if source != self.owner and not delegated:
            return Judgement(Verdict.NOT_OWNER, f"NOT_EXIT_OWNER:source={source}", by_right=False)
        must_sign = source == self.owner or self.verifier.knows(source)
        if must_sign and not self.verifier.verify(source, intent.wire, INTENT_FIELDS):
            return Judgement(
                Verdict.UNVERIFIED, f"SOURCE_UNVERIFIED:source={source}", by_right=False
            )
        return None

    def _lifetime(self, intent: ExitIntent, now_epoch: float) -> Judgement | None:
        age_s = now_epoch - float(intent.ts_epoch)
        if age_s > self.lifetime_s:
            return Judgement(Verdict.EXPIRED, f"intent_expired:age_s={age_s:.0f}", by_right=True)
        if age_s < -CLOCK_SKEW_S:
            reason = f"intent_expired:timestamp_ahead_s={-age_s:.0f}"
            return Judgement(Verdict.EXPIRED, reason, by_right=True)
        return None


def _position(intent: ExitIntent, position: PositionView) -> Judgement | None:
    """A stop may be cancelled whatever the position: those of a flat symbol are swept."""
    if intent.action is IntentAction.CANCEL_STOP or not isinstance(position, SeenPosition):
        return None
    certain = position.ts_epoch >= float(intent.ts_epoch)
    if position.side is PositionSide.FLAT:
        return Judgement(Verdict.NO_POSITION, "no_position", by_right=True, certain=certain)
    if position.side is not intent.side:
        reason = f"wrong_side:position={position.side}"
        return Judgement(Verdict.WRONG_SIDE, reason, by_right=True, certain=certain)
    return None
