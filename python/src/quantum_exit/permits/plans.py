"""The plans that wait for a verdict, and the verdict on one of them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from quantum_exit.bus.consumer import Entry
from quantum_exit.gates.authority import examine
from quantum_exit.gates.model import Claim, Lane
from quantum_exit.messages import Decision, Malformed, decode_fields, parse_plan
from quantum_exit.permits.bookkeeper import Bookkeeper
from quantum_exit.permits.store import Permit
from quantum_exit.permits.watch import Account
from quantum_exit.sanity.permit import (
    Allowed,
    NeverObserved,
    Refused,
    Scene,
    judge,
    needs_another_look,
)
from quantum_exit.signing import Verifier
from quantum_exit.values import format_number

FRESH_S: Final = 0.5
"""An observation this young serves a plan that has just arrived."""
PATIENCE_S: Final = 3.0
"""A verdict comes after this, well before the executor's 8 seconds are over."""
TOO_OLD_S: Final = 600.0
"""Plans of before the last outage are expired for the executor; they need no permit."""


@dataclass(frozen=True, slots=True)
class Waiting:
    entry: Entry
    claim: Claim
    since_mono: float

    @property
    def by_owner(self) -> bool:
        return self.claim.authority.verified


def read_plan(
    entry: Entry, lane: Lane, owner: str, verifier: Verifier, now_epoch: float, now_mono: float
) -> Waiting | str:
    """A plan that needs a permit, or under which name to count that it needs none."""
    decoded = decode_fields(entry.fields)
    plan = decoded if isinstance(decoded, Malformed) else parse_plan(decoded)
    if isinstance(plan, Malformed):
        return "skipped_malformed"
    if plan.decision is not Decision.EXECUTE:
        return "skipped_not_execute"
    if now_epoch - float(plan.timestamp) > TOO_OLD_S:
        return "skipped_too_old"
    return Waiting(entry, examine(plan, lane, owner, verifier), now_mono)


@dataclass(frozen=True, slots=True)
class Ruling:
    """A verdict, with what it was found on."""

    verdict: Allowed | Refused
    scene: Scene | NeverObserved


def rule(
    one: Waiting, account: Account, books: Bookkeeper, now_epoch: float, now_mono: float
) -> Ruling | None:
    """None: wait for a newer observation.

    An old observation allows nothing while a new one can be had, and refuses nothing that
    arrived after it.
    """
    patient = now_mono - one.since_mono < PATIENCE_S
    seen, plan = account.latest, one.claim.plan
    if account.unfit:
        reason = account.unfit.partition(":")[0]
        return None if patient else Ruling(Refused(reason), NeverObserved())
    if seen is None or plan.symbol in seen.unreadable:
        scene: Scene | NeverObserved = NeverObserved()
        young = after = False
    else:
        held = seen.positions.get(plan.symbol)
        age_s = now_mono - seen.asked_mono
        amount = held.amount if held else Decimal(0)
        scene = books.scene(plan.symbol, amount, age_s, now_epoch)
        young = age_s <= FRESH_S
        after = seen.asked_mono >= one.since_mono
    verdict = judge(plan, scene, by_owner=one.by_owner)
    if not patient:
        return Ruling(verdict, scene)
    if books.settling(plan.symbol, now_epoch):
        return None
    enough = after or (young and not needs_another_look(scene, verdict))
    if isinstance(scene, NeverObserved) or not enough:
        return None
    return Ruling(verdict, scene)


def permit_of(one: Waiting, ruling: Ruling, group: str, now_epoch: float) -> Permit:
    plan, verdict = one.claim.plan, ruling.verdict
    allowed = isinstance(verdict, Allowed)
    body: dict[str, object] = {
        "allow": allowed,
        "symbol": plan.symbol,
        "safe_qty": format_number(verdict.safe_qty) if isinstance(verdict, Allowed) else "0",
        "reason": verdict.reason,
        "created_at": round(now_epoch, 6),
        # Whose plan it was written for: an id alone can be guessed.
        "source": plan.source,
        "stream": one.entry.stream,
        "entry_id": one.entry.entry_id,
        "verified": one.by_owner,
    }
    if isinstance(ruling.scene, Scene):
        body["exchange_amt"] = format_number(ruling.scene.amount)
        body["snapshot_age_s"] = round(ruling.scene.age_s, 3)
    counted = "allowed" if allowed else f"refused_{verdict.reason}"
    return Permit(one.entry, group, plan.plan_id, body, counted)
