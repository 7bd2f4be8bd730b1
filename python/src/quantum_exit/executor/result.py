"""What a plan ended in, as the entry of `apply.result` and the counts that go with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from quantum_exit.gates.model import Claim, Denial, Outcome
from quantum_exit.values import format_epoch, format_number

_MAX_ERROR = 500
_to_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)
class Fill:
    order_id: str
    client_order_id: str
    filled_qty: Decimal
    order_status: str
    qty: Decimal
    """As the exchange accepted it."""
    avg_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Result:
    plan_id: str
    symbol: str
    side: str
    qty: str
    plan_source: str
    lane: str
    outcome: Outcome
    error: str
    fill: Fill | None = None
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def executed(self) -> bool:
        return self.outcome is Outcome.EXECUTED

    def wire(self, now_epoch: float) -> dict[str, str]:
        """The fields of its entry: every result has the same, in the same order."""
        fill = self.fill
        fields = {
            "event_type": "apply.result",
            "plan_id": self.plan_id,
            "symbol": self.symbol,
            "executed": "true" if self.executed else "false",
            "decision": self.outcome.value,
            "error": self.error[:_MAX_ERROR],
            "side": self.side,
            "qty": format_number(fill.qty) if fill else self.qty,
            "order_id": fill.order_id if fill else "",
            "client_order_id": fill.client_order_id if fill else "",
            "filled_qty": format_number(fill.filled_qty) if fill else "0",
            "order_status": fill.order_status if fill else "",
            "source": "intent_executor",
            "plan_source": self.plan_source,
            "lane": self.lane,
            "timestamp": format_epoch(now_epoch),
        }
        more = dict(self.extra)
        if fill and fill.avg_price is not None:
            more["avg_price"] = format_number(fill.avg_price)
        fields["details"] = _to_json({**more, **fields})
        return fields

    def metrics(self) -> list[str]:
        names = ["processed", "executed_true" if self.executed else "executed_false"]
        names.append(f"decision_{self.outcome.value.lower()}")
        for prefix, name in _COUNTED:
            if self.error.startswith(prefix):
                names.append(name)
        if self.lane == "manual":
            names.append("manual_consumed")
            blocked = self.error == "manual_lane_disabled"
            names.append("manual_blocked_disabled" if blocked else "manual_processed")
        return names


_COUNTED = (
    ("source_not_allowed", "blocked_source"),
    ("NOT_EXIT_OWNER", "exit_owner_denied"),
    ("SOURCE_UNVERIFIED", "source_unverified"),
    ("kill_switch_active", "kill_switch_blocked"),
    ("p33_permit", "p33_permit_blocked"),
    ("policy_missing_or_stale", "p35_guard_blocked"),
    ("limit_exceeded", "limit_exceeded"),
    ("missing_required_fields", "malformed"),
    ("invalid_field", "malformed"),
)


def of_denial(denial: Denial, wire: Mapping[str, str], lane: str) -> Result:
    """`wire`: whatever could be read of the plan; it may be noise, so it is cut."""
    return Result(
        plan_id=_clean(wire.get("plan_id", "")),
        symbol=_clean(wire.get("symbol", "")),
        side=_clean(wire.get("side", "")),
        qty=_clean(wire.get("qty", "")),
        plan_source=_clean(wire.get("source", "")),
        lane=lane,
        outcome=denial.outcome,
        error=denial.error,
    )


def of_refused(denial: Denial, claim: Claim) -> Result:
    """The end of a plan that could be read: its quantity is told as it was written."""
    plan = claim.plan
    return Result(
        plan_id=_clean(plan.plan_id),
        symbol=plan.symbol,
        side=plan.side.value,
        qty=_clean(plan.wire["qty"]),
        plan_source=plan.source,
        lane=claim.lane.value,
        outcome=denial.outcome,
        error=denial.error,
    )


def _clean(text: str) -> str:
    """Printable and bounded: a result is read by people and by other programs."""
    if len(text) <= 128 and text.isprintable():
        return text
    return "".join(c if c.isprintable() else "�" for c in text[:128])
