"""Every gate in both directions: what it stops, and what it lets through."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from quantum_exit.delegation import Delegation
from quantum_exit.gates.model import Authority, Claim, Denial, Lane, Limits, Order, Outcome
from quantum_exit.policy.reader import StalePolicy
from quantum_exit.values import Stale, Unknown

from .cases import (
    BRIDGE,
    DELEGATE,
    FLAT,
    MARK,
    NOW,
    OWNER,
    POLICY,
    RULES,
    SETTINGS,
    STRANGER,
    WORLD,
    bridged,
    error,
    intent_fields,
    position,
    signed,
    unsigned,
    verdict,
)

EVERYWHERE = Delegation(None)


def by_intent(intent: dict[str, str], **changes: str | None) -> Claim:
    return unsigned(intent=json.dumps(intent), signature="apply_layer", **changes)


# decision


@pytest.mark.parametrize("word", ["BLOCKED", "SKIP"])
def test_a_blocked_plan_is_answered_with_its_own_reason(word: str) -> None:
    claim = signed(decision=word, reason="layer_1:no")
    assert verdict(claim) == Denial(Outcome(word), "layer_1:no")


# age


def test_a_plan_lives_for_a_minute() -> None:
    assert error(signed(timestamp=f"{NOW - 60:.3f}")) == ""
    old = verdict(signed(timestamp=f"{NOW - 60.5:.3f}"))
    assert isinstance(old, Denial)
    assert old.outcome is Outcome.EXPIRED
    assert old.error.startswith("plan_expired")


def test_a_plan_from_the_future_would_outlive_its_age() -> None:
    assert error(signed(timestamp=f"{NOW + 4:.3f}")) == ""
    assert error(signed(timestamp=f"{NOW + 6:.3f}")).startswith("plan_expired")


# lane


def test_the_manual_lane_is_open_only_while_a_person_holds_it_open() -> None:
    assert error(signed(Lane.MANUAL)) == "manual_lane_disabled"
    assert error(signed(Lane.MANUAL), manual_lane_open=True) == ""


# source


def test_an_unlisted_source_is_refused() -> None:
    assert error(bridged(source="stranger"), FLAT) == "source_not_allowed:stranger"
    assert error(bridged(), FLAT) == ""


def test_the_owner_passes_whatever_the_list_says() -> None:
    assert error(signed(), settings=replace(SETTINGS, source_allowlist=frozenset())) == ""


def test_a_delegation_lists_its_source_for_exits_in_its_symbol_alone() -> None:
    exits = unsigned(source="manual_close")
    assert error(exits) == "source_not_allowed:manual_close"
    assert error(exits, delegation=EVERYWHERE) == ""
    assert error(exits, delegation=Delegation("BTCUSDT")) == ""
    assert error(exits, delegation=Delegation("ETHUSDT")) == "source_not_allowed:manual_close"


def test_a_delegation_is_no_right_to_open() -> None:
    opens = bridged(source="manual_close")
    assert error(opens, FLAT, delegation=EVERYWHERE) == "source_not_allowed:manual_close"
    assert error(opens, delegation=EVERYWHERE) == "source_not_allowed:manual_close"
    by_effect = bridged(source="manual_close", side="SELL")
    assert error(by_effect, delegation=EVERYWHERE) == ""


# symbol


def test_the_allowlist_limits_what_is_opened_and_no_exit() -> None:
    settings = replace(SETTINGS, symbol_allowlist=frozenset({"ETHUSDT"}))
    assert error(bridged(), FLAT, settings) == "symbol_not_in_allowlist:BTCUSDT"
    assert error(bridged(), settings=settings) == "symbol_not_in_allowlist:BTCUSDT"
    assert error(signed(), settings=settings) == ""
    assert error(signed(reduceOnly="false"), settings=settings) == ""
    listed = replace(SETTINGS, symbol_allowlist=frozenset({"BTCUSDT"}))
    assert error(bridged(), FLAT, listed) == ""


def test_not_knowing_the_position_is_no_leave_to_open_elsewhere() -> None:
    settings = replace(SETTINGS, symbol_allowlist=frozenset())
    unknown = replace(WORLD, position=Unknown("never observed"))
    assert error(bridged(side="SELL"), unknown, settings) == "symbol_not_in_allowlist:BTCUSDT"


# ownership


@pytest.mark.parametrize("flag", ["true", None])
@pytest.mark.parametrize("seen", [position(1), position(0), Stale(99), Unknown("never observed")])
def test_nobody_else_reduces_by_his_flag(flag: str | None, seen: object) -> None:
    claim = unsigned(source=BRIDGE, reduceOnly=flag)
    assert error(claim, position=seen) == f"NOT_EXIT_OWNER:source={BRIDGE}"


@pytest.mark.parametrize(("side", "amount"), [("SELL", "0.5"), ("BUY", "-0.5")])
@pytest.mark.parametrize("qty", ["0.001", "0.5", "50"])
def test_nobody_else_reduces_by_effect(side: str, amount: str, qty: str) -> None:
    claim = bridged(side=side, qty=qty)
    assert error(claim, position=position(amount)) == f"NOT_EXIT_OWNER:source={BRIDGE}"


def test_our_own_younger_fill_counts_as_a_position() -> None:
    claim = bridged(side="SELL")
    flat_but_filled = position(0, own_amount=Decimal(1))
    assert error(claim, position=flat_but_filled) == f"NOT_EXIT_OWNER:source={BRIDGE}"
    assert error(claim, position=position(0, own_amount=Decimal(0))) == ""


def test_stops_and_their_cancellation_belong_to_exits() -> None:
    for kind in ("STOP_MARKET", "CANCEL"):
        claim = bridged(type=kind, trigger_price="49000")
        assert error(claim, FLAT) == f"NOT_EXIT_OWNER:source={BRIDGE}"


def test_the_owners_name_needs_the_owners_signature() -> None:
    refused = f"SOURCE_UNVERIFIED:source={OWNER}"
    assert error(signed()) == ""
    assert error(unsigned()) == refused
    assert error(signed(signer=STRANGER)) == refused
    assert error(unsigned(side="BUY", reduceOnly="false", qty="0.01"), FLAT) == refused
    assert error(unsigned(), delegation=EVERYWHERE) == refused


def test_a_signature_of_the_owner_gives_another_source_no_right() -> None:
    assert error(signed(source=BRIDGE)) == f"NOT_EXIT_OWNER:source={BRIDGE}"
    assert error(by_intent(intent_fields(), source=BRIDGE)) == f"NOT_EXIT_OWNER:source={BRIDGE}"


def test_a_delegate_whose_key_is_known_signs_its_exits() -> None:
    name, settings = "signing_delegate", replace(SETTINGS, source_allowlist=frozenset({BRIDGE}))

    def answer(claim: Claim, delegation: Delegation | None = EVERYWHERE) -> str:
        return error(claim, settings=settings, delegation=delegation)

    refused = f"SOURCE_UNVERIFIED:source={name}"
    assert answer(signed(source=name, signer=DELEGATE)) == ""
    assert answer(unsigned(source=name)) == refused
    assert answer(signed(source=name)) == refused
    intent = intent_fields(DELEGATE, source=name)
    assert answer(by_intent(intent, source=name)) == ""
    assert answer(by_intent(intent, source=name, qty="2")) == refused
    assert answer(by_intent(intent_fields(), source=name)) == refused
    assert answer(signed(source=name, signer=DELEGATE), None) == f"source_not_allowed:{name}"
    listed = replace(SETTINGS, source_allowlist=frozenset({name}))
    assert error(bridged(source=name), FLAT, listed) == ""
    assert error(signed(source=name, signer=DELEGATE), settings=listed) == (
        f"NOT_EXIT_OWNER:source={name}"
    )


def test_a_signed_intent_gives_the_right_within_its_bounds() -> None:
    claim = by_intent(intent_fields())
    assert claim.authority is Authority.SIGNED_INTENT
    assert verdict(claim) == Order(Decimal(1), reduces=True, by_owner=True)
    assert error(by_intent(intent_fields(), qty="0.4")) == ""


@pytest.mark.parametrize(
    ("intent", "changes"),
    [
        (intent_fields(signer=None), {}),
        (intent_fields(signer=STRANGER), {}),
        (intent_fields() | {"quantity": "2"}, {}),
        (intent_fields(source=BRIDGE), {}),
        (intent_fields(symbol="ETHUSDT"), {}),
        (intent_fields(side="SHORT"), {}),
        (intent_fields(quantity="0.999"), {}),
        (intent_fields(), {"qty": "1.001"}),
        (intent_fields(), {"side": "BUY"}),
        (intent_fields(), {"type": "CANCEL"}),
        (intent_fields(), {"type": "STOP_MARKET", "trigger_price": "49000"}),
        (intent_fields(ts_epoch=f"{NOW - 61:.3f}"), {}),
        (intent_fields(ts_epoch=f"{NOW + 6:.3f}"), {}),
        (intent_fields(action="PARTIAL_CLOSE", qty_fraction="0.5"), {}),
        (
            intent_fields(action="PLACE_STOP", trigger_price="48000"),
            {"type": "STOP_MARKET", "trigger_price": "49000"},
        ),
        ({**intent_fields(), "note": "x", "quantity": ""}, {}),
    ],
)
def test_more_than_was_signed_is_refused(intent: dict[str, str], changes: dict[str, str]) -> None:
    assert error(by_intent(intent, **changes)) == f"SOURCE_UNVERIFIED:source={OWNER}"


def test_the_fraction_is_of_the_position() -> None:
    half = intent_fields(action="PARTIAL_CLOSE", qty_fraction="0.5", quantity="0.5")
    assert error(by_intent(half, qty="0.5")) == ""
    assert error(by_intent(half, qty="0.5"), position=position("0.4")) != ""


def test_an_intent_may_not_open() -> None:
    claim = by_intent(intent_fields(), reduceOnly="false")
    assert verdict(claim) == Order(Decimal(1), reduces=True, by_owner=True)
    assert error(claim, FLAT) == "already_flat"


def test_an_identity_is_shared_by_nobody_without_the_same_proof() -> None:
    plan = {"plan_id": "p-1"}
    other_intent = intent_fields(intent_id="i-2")
    identities = [
        claim.identity
        for claim in (
            signed(**plan),
            unsigned(**plan),
            unsigned(source=BRIDGE, **plan),
            by_intent(intent_fields(), **plan),
            by_intent(other_intent, **plan),
            signed(plan_id="p-2"),
            by_intent(intent_fields(), plan_id="p-2"),
        )
    ]
    assert len(set(identities)) == len(identities)
    assert signed(**plan).identity == signed(Lane.MANUAL, qty="0.5", **plan).identity


# position


@pytest.mark.parametrize("seen", [Stale(11), Unknown("never observed")])
def test_no_order_without_a_fresh_position(seen: object) -> None:
    assert error(signed(), position=seen) == "position_stale"
    assert error(bridged(), position=seen) == "position_stale"


def test_an_exit_of_nothing() -> None:
    assert error(signed(), FLAT) == "already_flat"
    assert error(signed(reduceOnly="true", side="BUY")) == "position_side_mismatch"


def test_our_own_younger_fill_denies_that_it_is_flat() -> None:
    assert error(signed(), position=position(0, own_amount=Decimal(1))) == "position_stale"


def test_an_exit_never_exceeds_the_position_and_is_rounded_down() -> None:
    assert verdict(signed(qty="50")) == Order(Decimal(1), reduces=True, by_owner=True)
    order = verdict(signed(qty="0.0019"))
    assert isinstance(order, Order)
    assert order.qty == Decimal("0.001")
    assert error(signed(qty="0.0009")) == "quantity_below_step"
    unknown_step = verdict(signed(qty="0.0009"), rules=Unknown("not in exchangeInfo"))
    assert unknown_step == Order(Decimal("0.0009"), reduces=True, by_owner=True)


def test_an_exit_without_its_flag_is_sent_with_it() -> None:
    for amount, side in ((1, "SELL"), (-1, "BUY")):
        order = verdict(signed(side=side, reduceOnly="false", qty="7"), position=position(amount))
        assert order == Order(Decimal(1), reduces=True, by_owner=True)


def test_a_cancellation_needs_no_position() -> None:
    assert verdict(signed(type="CANCEL"), FLAT) == Order(Decimal(0), reduces=True, by_owner=True)


# limits


def test_opening_needs_a_valid_policy_that_names_the_symbol() -> None:
    assert verdict(bridged(), FLAT) == Order(Decimal("0.01"), reduces=False, by_owner=False)
    for policy in (StalePolicy(POLICY.view, 1.0), Unknown("missing")):
        assert error(bridged(), FLAT, policy=policy) == "policy_missing_or_stale"
        assert error(signed(), policy=policy) == ""
    elsewhere = replace(POLICY, view=replace(POLICY.view, universe=frozenset({"ETHUSDT"})))
    assert error(bridged(), FLAT, policy=elsewhere) == "symbol_not_in_allowlist:BTCUSDT"
    assert error(signed(), policy=elsewhere) == ""


def test_opening_needs_a_mark_price_and_the_filters() -> None:
    for mark in (Stale(11), Unknown("no mark price")):
        assert error(bridged(), FLAT, mark_price=mark) == "mark_price_unavailable"
        assert error(signed(), mark_price=mark) == ""
    unknown = Unknown("not in exchangeInfo")
    assert error(bridged(), FLAT, rules=unknown).startswith("min_notional_check_failed:")
    assert error(bridged(qty="0.001"), FLAT).startswith("min_notional_check_failed:")
    assert error(bridged(qty="0.002"), FLAT) == ""
    assert error(signed(qty="0.001")) == ""
    assert error(bridged(qty="0.0101111"), FLAT) == "limit_exceeded:qty_step"
    assert error(bridged(qty="101"), FLAT) == "limit_exceeded:max_qty"
    halted = replace(RULES, status="SETTLING")
    assert error(bridged(), FLAT, rules=halted) == "limit_exceeded:symbol_status"
    assert error(signed(), rules=halted) == ""


def test_the_largest_order_value() -> None:
    settings = replace(SETTINGS, default_limits=Limits(max_order_value=Decimal(500)))
    assert error(bridged(qty="0.01"), FLAT, settings) == ""
    assert error(bridged(qty="0.011"), FLAT, settings) == "limit_exceeded:max_order_value"
    assert error(signed(), settings=settings) == ""
    delegated = unsigned(source=BRIDGE)
    assert (
        error(delegated, settings=settings, delegation=EVERYWHERE)
        == "limit_exceeded:max_order_value"
    )


def test_the_price_collar() -> None:
    settings = replace(SETTINGS, default_limits=Limits(price_collar_pct=Decimal(2)))
    assert error(bridged(trigger_price="51000"), FLAT, settings) == ""
    assert error(bridged(trigger_price="51001"), FLAT, settings) == "limit_exceeded:price_collar"
    assert error(bridged(trigger_price="48000"), FLAT, settings) == "limit_exceeded:price_collar"
    stop = signed(type="STOP_MARKET", trigger_price="10000")
    assert error(stop, settings=settings) == ""


def test_orders_a_minute() -> None:
    settings = replace(SETTINGS, default_limits=Limits(max_orders_per_min=3))
    assert error(bridged(), FLAT, settings, orders_last_minute=2) == ""
    assert (
        error(bridged(), FLAT, settings, orders_last_minute=3)
        == "limit_exceeded:max_orders_per_min"
    )
    assert error(signed(), settings=settings, orders_last_minute=99) == ""


def test_the_same_order_over_and_over_stops_its_source() -> None:
    settings = replace(SETTINGS, default_limits=Limits(max_repeats=3))
    assert error(bridged(), FLAT, settings, repeats=2) == ""
    assert error(bridged(), FLAT, settings, repeats=3) == "limit_exceeded:max_repeats"
    assert error(bridged(), FLAT, source_stopped=True) == "limit_exceeded:source_stopped"


def test_the_exit_owner_is_held_back_for_the_same_exit_alone() -> None:
    """A protective stop that the exchange refuses is asked for again and again; the close
    that follows must not pay for it."""
    settings = replace(SETTINGS, default_limits=Limits(max_repeats=3))
    stop = signed(type="STOP_MARKET", trigger_price="10000")
    for one in (signed(), stop):
        assert error(one, settings=settings, repeats=2, source_stopped=True) == ""
        assert error(one, settings=settings, repeats=3) == "limit_exceeded:max_repeats"


def test_the_first_of_its_kind_is_no_repetition() -> None:
    """A limit of 0 would else take every exit from every position."""
    settings = replace(SETTINGS, default_limits=Limits(max_repeats=0))
    for one, seen in ((signed(), WORLD), (bridged(), FLAT)):
        assert error(one, seen, settings, repeats=0) == ""
        assert error(one, seen, settings, repeats=1) == "limit_exceeded:max_repeats"


def test_limits_are_by_symbol() -> None:
    tight = Limits(max_order_value=Decimal(1))
    assert error(bridged(), FLAT, replace(SETTINGS, limits={"BTCUSDT": tight})) != ""
    assert error(bridged(), FLAT, replace(SETTINGS, limits={"ETHUSDT": tight})) == ""
    loose = replace(SETTINGS, limits={"BTCUSDT": Limits()}, default_limits=tight)
    assert error(bridged(), FLAT, loose) == ""


def test_the_mark_is_above_zero() -> None:
    assert MARK > 0
