"""A plan that passes every gate, the world in which it does, and ways to change one thing."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from quantum_exit.binance.model import SymbolRules
from quantum_exit.gates.authority import examine
from quantum_exit.gates.chain import judge
from quantum_exit.gates.model import (
    Claim,
    Denial,
    Lane,
    Limits,
    Observed,
    ObservedPosition,
    Order,
    Settings,
)
from quantum_exit.messages import Plan, parse_plan
from quantum_exit.policy.reader import PolicyView, ValidPolicy
from quantum_exit.signing import INTENT_FIELDS, PLAN_FIELDS, Signer, Verifier

NOW = 1_800_000_000.0
OWNER = "exitbrain_v3_5"
BRIDGE = "intent_bridge"
SIGNER = Signer("22" * 32)
STRANGER = Signer("33" * 32)
DELEGATE = Signer("66" * 32)
VERIFIER = Verifier({"EXITBRAIN_V3_5": SIGNER.public_hex, "SIGNING_DELEGATE": DELEGATE.public_hex})

RULES = SymbolRules(
    symbol="BTCUSDT",
    status="TRADING",
    price_tick=Decimal("0.1"),
    qty_step=Decimal("0.001"),
    min_qty=Decimal("0.001"),
    max_qty=Decimal(1000),
    market_step=Decimal("0.001"),
    market_min_qty=Decimal("0.001"),
    market_max_qty=Decimal(100),
    min_notional=Decimal(100),
    price_up=Decimal("1.05"),
    price_down=Decimal("0.95"),
    qty_precision=3,
)
MARK = Decimal(50_000)
POLICY = ValidPolicy(
    PolicyView(
        universe=frozenset({"BTCUSDT"}),
        leverage_by_symbol={},
        harvest_params_json="",
        kill_params_json="",
        valid_until_epoch=NOW + 60,
        version="1",
        policy_hash="",
    )
)
SETTINGS = Settings(
    owner=OWNER,
    source_allowlist=frozenset({BRIDGE, "apply_layer", OWNER}),
    symbol_allowlist=None,
    plan_lifetime_s=60,
    intent_lifetime_s=60,
    limits={},
    default_limits=Limits(),
)


def position(amount: str | int | Decimal, **changes: Any) -> ObservedPosition:
    return replace(ObservedPosition(Decimal(amount), MARK, 0.5), **changes)


WORLD = Observed(
    now_epoch=NOW,
    position=position(1),
    manual_lane_open=False,
    delegation=None,
    policy=POLICY,
    rules=RULES,
    mark_price=MARK,
    source_stopped=False,
    orders_last_minute=0,
    repeats=0,
)
FLAT = replace(WORLD, position=position(0))


def fields_of(**changes: str | None) -> dict[str, str]:
    fields: dict[str, str | None] = {
        "plan_id": "p-1",
        "decision": "EXECUTE",
        "symbol": "BTCUSDT",
        "side": "SELL",
        "type": "MARKET",
        "qty": "1",
        "reduceOnly": "true",
        "source": OWNER,
        "timestamp": f"{NOW - 1:.6f}",
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def plan_of(fields: dict[str, str]) -> Plan:
    plan = parse_plan(fields)
    assert isinstance(plan, Plan), plan.error
    return plan


def claim_of(fields: dict[str, str], lane: Lane = Lane.MAIN) -> Claim:
    return examine(plan_of(fields), lane, OWNER, VERIFIER)


def unsigned(lane: Lane = Lane.MAIN, **changes: str | None) -> Claim:
    return claim_of(fields_of(**changes), lane)


def signed(lane: Lane = Lane.MAIN, signer: Signer = SIGNER, **changes: str | None) -> Claim:
    """The owner's own plan."""
    fields = fields_of(**changes)
    return claim_of({**fields, "sig": signer.sign(fields, PLAN_FIELDS)}, lane)


def intent_fields(signer: Signer | None = SIGNER, **changes: str | None) -> dict[str, str]:
    given: dict[str, str | None] = {
        "intent_id": "i-1",
        "symbol": "BTCUSDT",
        "action": "FULL_CLOSE",
        "side": "LONG",
        "quantity": "1",
        "source": OWNER,
        "ts_epoch": f"{NOW - 1:.6f}",
        **changes,
    }
    fields = {name: value for name, value in given.items() if value is not None}
    return {**fields, "sig": signer.sign(fields, INTENT_FIELDS)} if signer else fields


def bridged(**changes: str | None) -> Claim:
    """As another producer opens: a BUY without reduceOnly."""
    opening = {"source": BRIDGE, "side": "BUY", "reduceOnly": "false", "qty": "0.01"}
    return unsigned(**{**opening, **changes})


def verdict(
    claim: Claim, seen: Observed = WORLD, settings: Settings = SETTINGS, **world: Any
) -> Order | Denial:
    return judge(claim, replace(seen, **world), settings)


def error(claim: Claim, seen: Observed = WORLD, settings: Settings = SETTINGS, **world: Any) -> str:
    """The denial's words; empty when the plan passes."""
    outcome = verdict(claim, seen, settings, **world)
    return outcome.error if isinstance(outcome, Denial) else ""
