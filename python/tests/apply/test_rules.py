"""What the first layer refuses, what it lets pass, and that no content gets round it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_exit.apply.plans import new_plan
from quantum_exit.apply.rules import Judgement, Rules, Verdict
from quantum_exit.delegation import Delegation, parse_delegation
from quantum_exit.messages import (
    Decision,
    ExitIntent,
    Malformed,
    Plan,
    decode_fields,
    parse_embedded_intent,
    parse_intent,
    parse_plan,
)
from quantum_exit.sanity.snapshot import PositionView, SeenPosition
from quantum_exit.signing import INTENT_FIELDS, Signer, Verifier, generate_seed
from quantum_exit.values import Stale, Unknown

NOW = 1_700_000_000.0
OWNER = "exitbrain_v3_5"
SIGNER = Signer(generate_seed())
DELEGATE = Signer(generate_seed())
RULES = Rules(
    OWNER,
    Verifier({"EXITBRAIN_V3_5": SIGNER.public_hex, "MANUAL_CLOSE": DELEGATE.public_hex}),
    lifetime_s=60,
)
LONG_ONE = SeenPosition("BTCUSDT", Decimal(1), NOW)


def wire(signer: Signer | None = SIGNER, **changes: str) -> dict[str, str]:
    fields = {
        "intent_id": "i-1",
        "symbol": "BTCUSDT",
        "action": "FULL_CLOSE",
        "side": "LONG",
        "qty_fraction": "1",
        "quantity": "1",
        "reason": "stop_loss",
        "source": OWNER,
        "ts_epoch": str(NOW - 1),
    } | changes
    return fields | ({"sig": signer.sign(fields, INTENT_FIELDS)} if signer else {})


def intent_of(fields: dict[str, str]) -> ExitIntent:
    intent = parse_intent(fields)
    assert isinstance(intent, ExitIntent)
    return intent


def judge(
    fields: dict[str, str],
    *,
    delegation: Delegation | None = None,
    position: PositionView = LONG_ONE,
    now: float = NOW,
) -> Judgement:
    return RULES.judge(intent_of(fields), delegation=delegation, position=position, now_epoch=now)


def test_the_owners_signed_intent_becomes_a_plan() -> None:
    judgement = judge(wire())
    assert judgement == Judgement(Verdict.PLANNED, "stop_loss", by_right=True)


def test_nobody_else_may_exit() -> None:
    judgement = judge(wire(signer=None, source="intent_bridge"))
    assert judgement.reason == "NOT_EXIT_OWNER:source=intent_bridge"
    assert not judgement.by_right


@pytest.mark.parametrize("signer", [None, DELEGATE])
def test_the_owners_name_alone_gives_no_right(signer: Signer | None) -> None:
    judgement = judge(wire(signer=signer))
    assert judgement.reason == f"SOURCE_UNVERIFIED:source={OWNER}"
    assert not judgement.by_right


@pytest.mark.parametrize("name", ["quantity", "symbol", "reason", "intent_id", "ts_epoch"])
def test_what_was_signed_cannot_be_changed(name: str) -> None:
    changed = wire() | {name: {"symbol": "ETHUSDT", "ts_epoch": str(NOW)}.get(name, "9")}
    assert judge(changed).verdict is Verdict.UNVERIFIED


def test_a_delegate_may_exit_in_its_symbol_and_signs_if_its_key_is_known() -> None:
    signed = wire(signer=DELEGATE, source="manual_close")
    assert judge(signed, delegation=Delegation("BTCUSDT")).verdict is Verdict.PLANNED
    assert judge(signed, delegation=Delegation(None)).verdict is Verdict.PLANNED
    assert judge(signed, delegation=Delegation("ETHUSDT")).verdict is Verdict.NOT_OWNER
    unsigned = wire(signer=None, source="manual_close")
    assert judge(unsigned, delegation=Delegation(None)).verdict is Verdict.UNVERIFIED
    keyless = wire(signer=None, source="telegram")
    assert judge(keyless, delegation=Delegation(None)).verdict is Verdict.PLANNED


def test_a_delegation_does_not_replace_the_owners_signature() -> None:
    assert judge(wire(signer=None), delegation=Delegation(None)).verdict is Verdict.UNVERIFIED


def test_an_intent_lives_for_a_minute() -> None:
    assert judge(wire(ts_epoch=str(NOW - 60))).verdict is Verdict.PLANNED
    assert judge(wire(ts_epoch=str(NOW - 61))).verdict is Verdict.EXPIRED
    assert judge(wire(ts_epoch=str(NOW + 6))).verdict is Verdict.EXPIRED


def test_a_flat_symbol_and_a_wrong_side_are_refused() -> None:
    flat = replace(LONG_ONE, amount=Decimal(0))
    short = replace(LONG_ONE, amount=Decimal(-1))
    assert judge(wire(), position=flat).reason == "no_position"
    assert judge(wire(), position=short).reason == "wrong_side:position=SHORT"


def test_an_observation_older_than_the_intent_is_not_certain() -> None:
    older = SeenPosition("BTCUSDT", Decimal(0), NOW - 2)
    assert not judge(wire(), position=older).certain
    assert judge(wire(), position=replace(older, ts_epoch=NOW)).certain


@pytest.mark.parametrize("position", [Unknown("never observed"), Stale(11.0)])
def test_not_knowing_the_position_stops_no_exit(position: PositionView) -> None:
    assert judge(wire(), position=position).verdict is Verdict.PLANNED


def test_stops_of_a_flat_symbol_may_be_cancelled() -> None:
    flat = replace(LONG_ONE, amount=Decimal(0))
    fields = wire(action="CANCEL_STOP")
    assert judge(fields, position=flat).verdict is Verdict.PLANNED


def test_a_delegation_must_end_by_itself() -> None:
    assert parse_delegation(b'{"symbol": "BTCUSDT"}', 5000) == Delegation("BTCUSDT")
    assert parse_delegation(b'{"symbol": "*"}', 5000) == Delegation(None)
    assert parse_delegation(b"{}", 5000) == Delegation(None)
    assert parse_delegation(b"{}", -1) is None
    assert parse_delegation(None, -2) is None
    for malformed in (b"", b"1", b'"BTCUSDT"', b'{"symbol": 5}', b"\xff", b"[" * 100_000):
        assert parse_delegation(malformed, 5000) is None


def plan_of(fields: dict[str, str], judgement: Judgement) -> Plan:
    raw = {name.encode(): value.encode() for name, value in fields.items()}
    made = new_plan(intent_of(fields), judgement, raw, "1-1", NOW, owner=OWNER)
    plan = parse_plan(made.fields)
    assert isinstance(plan, Plan), plan
    return plan


@pytest.mark.parametrize(
    ("action", "order_type", "qty"),
    [
        ("FULL_CLOSE", "MARKET", "1"),
        ("PARTIAL_CLOSE", "MARKET", "1"),
        ("PLACE_STOP", "STOP_MARKET", "1"),
        ("CANCEL_STOP", "CANCEL", "0"),
    ],
)
def test_the_plan_says_what_was_signed_and_carries_it(
    action: str, order_type: str, qty: str
) -> None:
    fields = wire(action=action, trigger_price="90.5")
    plan = plan_of(fields, judge(fields))
    assert (plan.decision, plan.type, plan.side) == (Decision.EXECUTE, order_type, "SELL")
    assert (plan.plan_id, plan.source, plan.qty) == ("exit-i-1", OWNER, Decimal(qty))
    assert plan.reduce_only
    assert plan.wire["signature"] == "apply_layer"
    assert "sig" not in plan.wire
    intent = parse_embedded_intent(plan.wire["intent"])
    assert isinstance(intent, ExitIntent)
    assert RULES.verifier.verify(OWNER, intent.wire, INTENT_FIELDS)


def test_a_refusal_without_proof_never_takes_an_id_of_the_owners() -> None:
    forged = wire(signer=None)
    plan = plan_of(forged, judge(forged))
    assert plan.decision is Decision.BLOCKED
    assert plan.reason == f"SOURCE_UNVERIFIED:source={OWNER}"
    assert not plan.plan_id.startswith("exit-")


def test_a_delegates_plan_has_an_id_of_its_own() -> None:
    fields = wire(signer=DELEGATE, source="manual_close")
    assert plan_of(fields, judge(fields, delegation=Delegation(None))).plan_id != "exit-i-1"


def test_long_ids_stay_within_bounds_and_apart() -> None:
    ids = set()
    for last in "ab":
        fields = wire(intent_id="x" * 127 + last)
        ids.add(plan_of(fields, judge(fields)).plan_id)
    assert len(ids) == 2


names = st.sampled_from(sorted(INTENT_FIELDS | {"sig", "other"})).map(str.encode)
known = {name.encode(): value.encode() for name, value in wire().items()}
noise = st.dictionaries(names, st.binary(max_size=50) | st.sampled_from(sorted(known.values())))


@given(noise, st.booleans())
def test_whatever_arrives_becomes_a_plan_that_can_be_read_and_none_that_executes(
    changes: dict[bytes, bytes], keep_known: bool
) -> None:
    raw = (known if keep_known else {}) | changes
    if all(raw.get(name) == value for name, value in known.items()):
        return
    decoded = decode_fields(raw)
    intent = decoded if isinstance(decoded, Malformed) else parse_intent(decoded)
    judgement = RULES.judge(intent, delegation=None, position=LONG_ONE, now_epoch=NOW)
    plan = parse_plan(new_plan(intent, judgement, raw, "1-1", NOW, owner=OWNER).fields)
    assert isinstance(plan, Plan), plan
    assert plan.decision is Decision.BLOCKED
    assert plan.reason
