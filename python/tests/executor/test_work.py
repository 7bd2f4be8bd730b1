"""What of a plan is kept while it waits."""

from __future__ import annotations

from quantum_exit.executor.result import of_denial, of_refused
from quantum_exit.executor.store import Entry
from quantum_exit.executor.work import InFlight, slim
from quantum_exit.gates.authority import examine
from quantum_exit.gates.model import Authority, Claim, Lane, denied
from quantum_exit.messages import Plan, parse_plan
from quantum_exit.signing import Verifier, env_suffix

from .harness import OWNER, SIGNER, World


def claim_of(fields: dict[str, str]) -> Claim:
    plan = parse_plan(fields)
    assert isinstance(plan, Plan)
    return examine(plan, Lane.MAIN, OWNER, Verifier({env_suffix(OWNER): SIGNER.public_hex}))


def test_what_was_signed_is_not_kept_and_nothing_else_changes() -> None:
    for fields in (World.signed(), World.by_intent(), World.opening(action="OPEN")):
        claim = claim_of(fields)
        kept = slim(claim)
        assert kept.authority is claim.authority
        assert kept.identity == claim.identity
        ending = of_refused(denied("x"), kept)
        assert ending == of_refused(denied("x"), claim)
        assert ending == of_denial(denied("x"), fields, "main")
        assert kept.plan.wire.get("action") == claim.plan.wire.get("action")
        assert not {"sig", "intent", "reason"} & kept.plan.wire.keys()
        assert kept.intent is None or not kept.intent.wire
    assert claim_of(World.by_intent()).authority is Authority.SIGNED_INTENT


def test_a_plan_is_on_its_way_until_it_is_released() -> None:
    in_flight = InFlight()
    assert in_flight.admit("a", Entry("stream", "group", "1-1"))
    assert not in_flight.admit("a", Entry("stream", "group", "2-1"))
    assert in_flight.holds("stream", "1-1")
    assert not in_flight.holds("stream", "2-1")
    assert not in_flight.holds("other", "1-1")
    in_flight.release("a", "never seen")
    assert not in_flight.holds("stream", "1-1")
    assert len(in_flight) == 0
