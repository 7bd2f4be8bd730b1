"""The chain as a whole: whatever comes in, in whatever world, these never happen."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum_exit.delegation import Delegation
from quantum_exit.gates.authority import examine
from quantum_exit.gates.chain import judge
from quantum_exit.gates.model import (
    Authority,
    Claim,
    Denial,
    Lane,
    Limits,
    Observed,
    ObservedPosition,
    Order,
    Settings,
)
from quantum_exit.gates.permit import Permit, permit
from quantum_exit.messages import OrderType, Plan, parse_plan
from quantum_exit.policy.reader import StalePolicy, ValidPolicy
from quantum_exit.signing import INTENT_FIELDS, PLAN_FIELDS
from quantum_exit.values import Stale, Unknown

from .cases import (
    BRIDGE,
    DELEGATE,
    MARK,
    NOW,
    OWNER,
    POLICY,
    RULES,
    SETTINGS,
    SIGNER,
    STRANGER,
    VERIFIER,
    WORLD,
    fields_of,
)

_amounts = st.sampled_from(["-3", "-1", "-0.001", "0", "0.0004", "0.001", "0.5", "1", "3"])
_quantities = st.sampled_from(["0.0004", "0.001", "0.0015", "0.5", "1", "1.5", "3", "100", "5000"])
_symbols = st.sampled_from(["BTCUSDT", "ETHUSDT"])
_times = st.sampled_from([NOW - 61, NOW - 59, NOW - 1, NOW + 4, NOW + 6]).map("{:.3f}".format)
_signers = st.sampled_from([None, SIGNER, STRANGER, DELEGATE])
DELEGATE_NAME = "signing_delegate"


@st.composite
def intents(draw: st.DrawFn) -> str:
    action = draw(st.sampled_from(["FULL_CLOSE", "PARTIAL_CLOSE", "PLACE_STOP", "CANCEL_STOP"]))
    fields = {
        "intent_id": "i-1",
        "symbol": draw(_symbols),
        "action": action,
        "side": draw(st.sampled_from(["LONG", "SHORT"])),
        "quantity": draw(_quantities),
        "source": draw(st.sampled_from([OWNER, BRIDGE, DELEGATE_NAME])),
        "ts_epoch": draw(_times),
    }
    fraction = draw(st.sampled_from(["", "0.25", "0.5", "1"]))
    if fraction:
        fields["qty_fraction"] = fraction
    if action == "PLACE_STOP":
        fields["trigger_price"] = draw(st.sampled_from(["40000", "45000"]))
    signer = draw(_signers)
    if signer:
        fields["sig"] = signer.sign(fields, INTENT_FIELDS)
    return json.dumps(fields)


@st.composite
def claims(draw: st.DrawFn) -> Claim:
    fields = fields_of(
        decision=draw(st.sampled_from(["EXECUTE", "EXECUTE", "EXECUTE", "BLOCKED", "SKIP"])),
        symbol=draw(_symbols),
        side=draw(st.sampled_from(["BUY", "SELL"])),
        type=draw(st.sampled_from(["MARKET", "MARKET", "STOP_MARKET", "CANCEL", None])),
        qty=draw(_quantities),
        reduceOnly=draw(st.sampled_from(["true", "false", "false", None])),
        source=draw(
            st.sampled_from([OWNER, OWNER, BRIDGE, "apply_layer", "manual_close", DELEGATE_NAME])
        ),
        timestamp=draw(_times),
        trigger_price=draw(st.sampled_from(["40000", "45000", "50100"])),
        intent=draw(st.none() | intents()),
    )
    signer = draw(_signers)
    if signer:
        fields["sig"] = signer.sign(fields, PLAN_FIELDS)
    plan = parse_plan(fields)
    assert isinstance(plan, Plan)
    return examine(plan, draw(st.sampled_from(list(Lane))), OWNER, VERIFIER)


_positions = st.one_of(
    st.builds(
        ObservedPosition,
        _amounts.map(Decimal),
        st.none() | st.just(MARK),
        st.floats(0, 10),
        st.none() | _amounts.map(Decimal),
    ),
    st.builds(Stale, st.just(11.0)),
    st.builds(Unknown, st.just("never observed")),
)
worlds = st.builds(
    Observed,
    now_epoch=st.just(NOW),
    position=_positions,
    manual_lane_open=st.booleans(),
    delegation=st.sampled_from([None, None, Delegation(None), Delegation("BTCUSDT")]),
    policy=st.sampled_from([POLICY, StalePolicy(POLICY.view, 1.0), Unknown("missing")]),
    rules=st.sampled_from([RULES, Unknown("not in exchangeInfo")]),
    mark_price=st.sampled_from([MARK, Stale(11.0), Unknown("no mark price")]),
    source_stopped=st.sampled_from([False, False, False, True]),
    orders_last_minute=st.integers(0, 4),
    repeats=st.integers(0, 4),
)
_limits = st.builds(
    Limits,
    max_order_value=st.sampled_from([None, Decimal(1000)]),
    price_collar_pct=st.sampled_from([None, Decimal(5)]),
    max_orders_per_min=st.sampled_from([None, 3]),
    max_repeats=st.sampled_from([None, 3]),
)
settingses = st.builds(
    Settings,
    owner=st.just(OWNER),
    source_allowlist=st.sampled_from([SETTINGS.source_allowlist, frozenset()]),
    symbol_allowlist=st.sampled_from([None, frozenset({"BTCUSDT"}), frozenset()]),
    plan_lifetime_s=st.just(60.0),
    intent_lifetime_s=st.just(60.0),
    limits=st.just({}),
    default_limits=_limits,
)
permits = st.builds(
    Permit,
    allow=st.booleans(),
    safe_qty=st.none() | st.sampled_from(["-1", "0", "0.001", "0.7", "100"]).map(Decimal),
    symbol=st.sampled_from(["", "BTCUSDT"]),
    reason=st.just(""),
    created_at=st.none() | st.just(NOW - 1),
    source=st.just(""),
)


def signed_bounds(claim: Claim, held: Decimal) -> Decimal:
    """The most that the owner's signature allows of this position."""
    intent = claim.intent
    if intent is None or intent.quantity is None:
        return claim.plan.qty
    share = intent.qty_fraction or Decimal(1)
    return min(intent.quantity, share * max(held, intent.quantity))


def check(claim: Claim, seen: Observed, configured: Settings, found: Permit | None) -> None:
    order = judge(claim, seen, configured)
    if isinstance(order, Order):
        checked = permit(claim, order, found, NOW)
        if isinstance(checked, Order):
            assert checked.qty <= order.qty
            assert checked.reduces == order.reduces
        check_order(claim, seen, configured, order)


def check_order(claim: Claim, seen: Observed, configured: Settings, order: Order) -> None:
    plan, position = claim.plan, seen.position
    assert plan.decision.value == "EXECUTE"
    assert isinstance(position, ObservedPosition)
    assert claim.lane is Lane.MAIN or seen.manual_lane_open
    assert not seen.source_stopped or (order.by_owner and order.reduces)
    delegated = seen.delegation is not None and seen.delegation.covers(plan.symbol)
    if plan.source == OWNER:
        assert claim.authority.verified
        assert order.by_owner
    elif order.reduces:
        assert delegated
        assert claim.authority.verified or plan.source != DELEGATE_NAME
    else:
        assert plan.source in configured.source_allowlist
    if not order.reduces:
        assert isinstance(seen.policy, ValidPolicy)
        assert plan.symbol in seen.policy.view.universe
        assert claim.authority is not Authority.SIGNED_INTENT
        assert not plan.reduce_only
        assert position.amount * plan.side.sign >= 0
        assert (position.own_amount or 0) * plan.side.sign >= 0
        assert configured.symbol_allowlist is None or plan.symbol in configured.symbol_allowlist
        return
    if plan.type is OrderType.CANCEL:
        assert order.qty == 0
        return
    held = abs(position.amount)
    assert 0 < order.qty <= held
    assert position.amount * plan.side.sign < 0
    assert order.qty <= plan.qty
    if claim.authority is Authority.SIGNED_INTENT:
        assert order.qty <= signed_bounds(claim, held)


@given(claims(), worlds, settingses, st.none() | permits)
def test_whatever_comes_in(
    claim: Claim, seen: Observed, configured: Settings, found: Permit | None
) -> None:
    check(claim, seen, configured, found)


@pytest.mark.long
@pytest.mark.timeout(7200)
@settings(max_examples=1_000_000, deadline=None, database=None)
@given(claims(), worlds, settingses, st.none() | permits)
def test_a_million_plans(
    claim: Claim, seen: Observed, configured: Settings, found: Permit | None
) -> None:
    check(claim, seen, configured, found)


@given(st.data())
def test_a_signed_exit_of_the_owner_passes_with_the_default_settings(data: st.DataObject) -> None:
    """In any symbol with a position, whatever else is missing in the world."""
    amount = Decimal(data.draw(st.sampled_from(["-3", "-0.5", "0.001", "1"])))
    seen = replace(
        data.draw(worlds),
        position=ObservedPosition(amount, None, 1.0),
        source_stopped=False,
    )
    fields = fields_of(
        symbol=data.draw(st.sampled_from(["BTCUSDT", "ETHUSDT", "币安人生USDT"])),
        side="SELL" if amount > 0 else "BUY",
        qty=data.draw(st.sampled_from(["0.001", "1", "900"])),
        reduceOnly=data.draw(st.sampled_from(["true", "false", None])),
    )
    fields["sig"] = SIGNER.sign(fields, PLAN_FIELDS)
    plan = parse_plan(fields)
    assert isinstance(plan, Plan)
    order = judge(examine(plan, Lane.MAIN, OWNER, VERIFIER), seen, SETTINGS)
    assert order == Order(min(plan.qty, abs(amount)), reduces=True, by_owner=True)


def test_the_first_denial_in_the_order_of_the_gates_is_the_result() -> None:
    """Everything is wrong at once; one thing after another is put right."""
    wrong = {
        "decision": "SKIP",
        "reason": "own_reason",
        "timestamp": f"{NOW - 99:.3f}",
        "source": "stranger",
        "reduceOnly": "false",
        "side": "SELL",
        "qty": "0.0009",
    }
    world = replace(
        WORLD,
        position=ObservedPosition(Decimal(0), None, 1.0, own_amount=Decimal(1)),
        policy=Unknown("missing"),
        orders_last_minute=9,
    )
    strict = replace(
        SETTINGS, symbol_allowlist=frozenset(), default_limits=Limits(max_orders_per_min=3)
    )
    lane = Lane.MANUAL
    seen: list[str] = []

    def note() -> None:
        plan = parse_plan(fields_of(**wrong))
        assert isinstance(plan, Plan)
        outcome = judge(examine(plan, lane, OWNER, VERIFIER), world, strict)
        seen.append(outcome.error if isinstance(outcome, Denial) else "passed")

    note()
    wrong["decision"] = "EXECUTE"
    note()
    wrong["timestamp"] = f"{NOW - 1:.3f}"
    note()
    world = replace(world, manual_lane_open=True)
    note()
    wrong["source"] = BRIDGE
    wrong["side"] = "BUY"
    note()
    strict = replace(strict, symbol_allowlist=None)
    wrong["side"] = "SELL"
    note()
    world = replace(world, position=Stale(99.0))
    note()
    world = replace(world, position=ObservedPosition(Decimal(0), None, 1.0))
    note()
    world = replace(world, policy=POLICY)
    note()
    wrong["qty"] = "0.01"
    note()
    world = replace(world, orders_last_minute=0)
    note()
    assert seen == [
        "own_reason",
        "plan_expired:age_s=99",
        "manual_lane_disabled",
        "source_not_allowed:stranger",
        "symbol_not_in_allowlist:BTCUSDT",
        f"NOT_EXIT_OWNER:source={BRIDGE}",
        "position_stale",
        "policy_missing_or_stale",
        "quantity_below_step",
        "limit_exceeded:max_orders_per_min",
        "passed",
    ]
