"""P3.3's verdicts: reasons in their order, quantities within the position."""

from __future__ import annotations

import time
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_exit.messages import Plan, parse_plan
from quantum_exit.sanity.books import Agreed, Comparison, Inconclusive, Mismatch, MismatchKind
from quantum_exit.sanity.permit import (
    OWNER_WAITS_S,
    Allowed,
    Hold,
    NeverObserved,
    Refused,
    Scene,
    judge,
    needs_another_look,
)

D = Decimal
AGREED = Agreed(D(0))
QTY_MISMATCH = Mismatch(MismatchKind.QTY, D(3), D(5))
SIDE_MISMATCH = Mismatch(MismatchKind.SIDE, D(3), D(-5))
LONG_THREE = Scene(D(3), 0.1, AGREED)
OURS, FOREIGN = Hold(ours=True), Hold(ours=False)


def plan(**changes: str) -> Plan:
    fields = {
        "plan_id": "p",
        "decision": "EXECUTE",
        "symbol": "BTCUSDT",
        "side": "SELL",
        "type": "MARKET",
        "qty": "5",
        "reduceOnly": "true",
        "trigger_price": "1",
        "source": "s",
        "timestamp": str(time.time()),
    }
    parsed = parse_plan(fields | changes)
    assert isinstance(parsed, Plan)
    return parsed


EXIT = plan()
OPEN = plan(side="BUY", reduceOnly="false")
CANCEL = plan(type="CANCEL", qty="0")


@pytest.mark.parametrize(
    ("what", "scene", "reason"),
    [
        (EXIT, NeverObserved(), "stale_exchange_state"),
        (EXIT, replace(LONG_THREE, age_s=10.1), "stale_exchange_state"),
        (EXIT, replace(LONG_THREE, age_s=-10.1), "stale_exchange_state"),
        (CANCEL, replace(LONG_THREE, age_s=10.1), "stale_exchange_state"),
        (OPEN, NeverObserved(), "stale_exchange_state"),
        (EXIT, replace(LONG_THREE, amount=D(0), comparison=QTY_MISMATCH), "no_position"),
        (EXIT, replace(LONG_THREE, amount=D(-3)), "reconcile_required_side_mismatch"),
        (EXIT, replace(LONG_THREE, comparison=SIDE_MISMATCH), "reconcile_required_side_mismatch"),
        (EXIT, replace(LONG_THREE, comparison=QTY_MISMATCH), "reconcile_required_qty_mismatch"),
        (
            EXIT,
            replace(LONG_THREE, comparison=QTY_MISMATCH, hold=OURS),
            "reconcile_required_qty_mismatch",
        ),
        (EXIT, replace(LONG_THREE, hold=FOREIGN), "reconcile_hold_active"),
        (OPEN, replace(LONG_THREE, hold=OURS), "reconcile_hold_active"),
        (OPEN, replace(LONG_THREE, comparison=QTY_MISMATCH), "reconcile_required_qty_mismatch"),
        (EXIT, replace(LONG_THREE, order_unresolved=True), "cooldown"),
        (OPEN, replace(LONG_THREE, order_unresolved=True), "cooldown"),
    ],
)
def test_refusals(what: Plan, scene: Scene | NeverObserved, reason: str) -> None:
    assert judge(what, scene, by_owner=True) == Refused(reason)


def test_what_is_allowed() -> None:
    assert judge(EXIT, LONG_THREE, by_owner=False) == Allowed(D(3))
    assert judge(plan(qty="2"), LONG_THREE, by_owner=False) == Allowed(D(2))
    assert judge(OPEN, LONG_THREE, by_owner=False) == Allowed(D(0))
    assert judge(plan(type="STOP_MARKET"), LONG_THREE, by_owner=False) == Allowed(D(3))
    flat = replace(LONG_THREE, amount=D(0))
    assert judge(CANCEL, flat, by_owner=False) == Allowed(D(0))
    assert judge(OPEN, flat, by_owner=False) == Allowed(D(0))


def test_what_reduces_by_effect_is_bounded_like_an_exit() -> None:
    sneaky = plan(reduceOnly="false")
    assert judge(sneaky, LONG_THREE, by_owner=False) == Allowed(D(3))


def test_a_hold_of_ours_gives_way_to_the_owners_exit_in_the_end_and_to_nothing_else() -> None:
    held = replace(LONG_THREE, comparison=QTY_MISMATCH, hold=OURS, mismatch_steady_s=OWNER_WAITS_S)
    assert judge(EXIT, held, by_owner=True) == Allowed(D(3), "owner_exit_despite_hold")
    assert isinstance(judge(EXIT, held, by_owner=False), Refused)
    assert isinstance(judge(OPEN, held, by_owner=True), Refused)
    young = replace(held, mismatch_steady_s=OWNER_WAITS_S - 1)
    assert isinstance(judge(EXIT, young, by_owner=True), Refused)
    assert isinstance(judge(EXIT, replace(held, hold=FOREIGN), by_owner=True), Refused)


def test_a_refusal_is_looked_at_again_and_so_is_an_amount_that_is_not_current() -> None:
    assert needs_another_look(LONG_THREE, Refused("no_position"))
    assert not needs_another_look(LONG_THREE, Allowed(D(3)))
    assert needs_another_look(replace(LONG_THREE, current=False), Allowed(D(3)))
    assert not needs_another_look(replace(LONG_THREE, hold=FOREIGN), Refused("x"))


comparisons: st.SearchStrategy[Comparison] = st.sampled_from(
    [AGREED, QTY_MISMATCH, SIDE_MISMATCH, Inconclusive()]
)
scenes = st.builds(
    Scene,
    amount=st.decimals(-10, 10, places=2),
    age_s=st.floats(-20, 20),
    comparison=comparisons,
    hold=st.none() | st.builds(Hold, ours=st.booleans()),
    mismatch_steady_s=st.floats(0, 100),
    current=st.booleans(),
    order_unresolved=st.booleans(),
) | st.builds(NeverObserved)
plans = st.builds(
    lambda side, kind, qty, flag: plan(side=side, type=kind, qty=str(qty), reduceOnly=flag),
    st.sampled_from(["BUY", "SELL"]),
    st.sampled_from(["MARKET", "STOP_MARKET", "CANCEL"]),
    st.integers(1, 20),
    st.sampled_from(["true", "false"]),
)


@given(plans, scenes, st.booleans())
def test_nothing_is_allowed_beyond_what_is_held(
    what: Plan, scene: Scene | NeverObserved, by_owner: bool
) -> None:
    verdict = judge(what, scene, by_owner=by_owner)
    if isinstance(verdict, Refused):
        assert verdict.reason
        return
    assert isinstance(scene, Scene)
    assert abs(scene.age_s) <= 10
    if what.type == "CANCEL":
        return
    if verdict.safe_qty > 0:
        assert verdict.safe_qty <= abs(scene.amount)
        assert verdict.safe_qty <= what.qty
        assert scene.amount * what.side.sign < 0, "it reduces"
    else:
        assert not what.reduce_only
        assert scene.amount * what.side.sign >= 0, "it opens"
    disputed = isinstance(scene.comparison, Mismatch) or scene.hold is not None
    if disputed:
        assert by_owner
        assert scene.mismatch_steady_s >= OWNER_WAITS_S


@given(plans, scenes)
def test_the_owner_is_never_worse_off_than_anybody_else(
    what: Plan, scene: Scene | NeverObserved
) -> None:
    if isinstance(judge(what, scene, by_owner=False), Allowed):
        assert isinstance(judge(what, scene, by_owner=True), Allowed)
