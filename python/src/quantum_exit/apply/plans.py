"""The plan that an intent becomes, executable or blocked. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from quantum_exit.apply.rules import Judgement, Verdict
from quantum_exit.messages import (
    Decision,
    ExitIntent,
    Malformed,
    OrderType,
    dump_embedded_intent,
    parse_plan,
)
from quantum_exit.values import OrderSide, format_epoch, format_number

SIGNATURE: Final = "apply_layer"
_DONE: Final = "quantum:apply:done:"
_REFUSED: Final = "quantum:apply:refused:"
DONE_BY_RIGHT_S: Final = 86_400
DONE_REFUSED_S: Final = 3_600
"""Shorter: a flood of made-up intents must not fill the memory."""
_MAX_ID: Final = 128
_MAX_REASON: Final = 300
_UNPRINTABLE: Final = re.compile(r"[^\x21-\x7e]")


@dataclass(frozen=True, slots=True)
class NewPlan:
    fields: Mapping[str, str]
    done_key: str
    """What makes it once: the same intent again finds this key."""
    done_ttl_s: int


def new_plan(
    intent: ExitIntent | Malformed,
    judgement: Judgement,
    raw: Mapping[bytes, bytes],
    entry_id: str,
    now_epoch: float,
    *,
    owner: str,
) -> NewPlan:
    """`raw`: the stream entry as it came; `entry_id`: names what has no usable id itself.

    The owner's intents become plans `exit-<intent_id>`. Everybody else's plans have ids
    that no plan of the owner's has.
    """
    if isinstance(intent, ExitIntent) and judgement.by_right:
        by = "" if intent.source == owner else f"{intent.source}|"
        plan_id = _bounded(f"exit-{by}{intent.intent_id}")
        done_key = f"{_DONE}{intent.source}|{intent.intent_id}"  # no source contains a "|"
        done_ttl_s = DONE_BY_RIGHT_S
    else:
        digest = _digest(raw)
        plan_id = _refused_id(_safe_id(intent, entry_id), digest)
        done_key = f"{_REFUSED}{digest}"
        done_ttl_s = DONE_REFUSED_S
    if isinstance(intent, Malformed):
        fields = _of_noise(intent.fields)
    elif judgement.verdict is Verdict.PLANNED:
        fields = _of_intent(intent, Decision.EXECUTE)
    else:
        fields = _of_intent(intent, Decision.BLOCKED)
    fields |= {
        "plan_id": plan_id,
        "reason": judgement.reason[:_MAX_REASON] if _is_blocked(fields) else judgement.reason,
        "signature": SIGNATURE,
        "timestamp": format_epoch(now_epoch),
    }
    return NewPlan(fields, done_key, done_ttl_s)


def refused_plan_id(intent_id: str, fields: Mapping[str, str]) -> str:
    """The id of the plan of an intent that comes by no right. `fields`: all of its entry's."""
    raw = {name.encode(): value.encode() for name, value in fields.items()}
    return _refused_id(intent_id, _digest(raw))


def _refused_id(named: str, digest: str) -> str:
    return _bounded(f"refused-{named}-{digest[:12]}")


def _is_blocked(fields: Mapping[str, str]) -> bool:
    return fields["decision"] == Decision.BLOCKED


def _of_intent(intent: ExitIntent, decision: Decision) -> dict[str, str]:
    order_type = intent.action.order_type
    qty = intent.quantity if order_type is not OrderType.CANCEL else None
    fields = {
        "decision": decision.value,
        "symbol": intent.symbol,
        "side": intent.side.exit_order_side.value,
        "type": order_type.value,
        "qty": format_number(qty) if qty is not None else "0",
        "reduceOnly": "true",
        "source": intent.source,
        "action": intent.action.value,
    }
    if intent.trigger_price is not None:
        fields["trigger_price"] = format_number(intent.trigger_price)
    if decision is Decision.EXECUTE:
        fields["intent"] = dump_embedded_intent(intent)
    return fields


def _of_noise(found: Mapping[str, str]) -> dict[str, str]:
    """A blocked plan that keeps of a malformed intent only what a plan may carry."""
    safe = {
        "decision": Decision.BLOCKED.value,
        "symbol": "UNKNOWN",
        "side": OrderSide.BUY.value,
        "type": OrderType.MARKET.value,
        "qty": "0",
        "reduceOnly": "true",
        "source": "unknown",
    }
    for name in ("symbol", "source", "action"):
        candidate = {**_PROBE, **safe, name: found.get(name, "")}
        if found.get(name) and not isinstance(parse_plan(candidate), Malformed):
            safe[name] = found[name]
    return safe


_PROBE: Final = {"plan_id": "probe", "timestamp": "0"}


def _digest(raw: Mapping[bytes, bytes]) -> str:
    """Of everything in the entry: the same content again is the same refusal."""
    digest = hashlib.sha256()
    for name, value in sorted(raw.items()):
        digest.update(f"{len(name)}:{len(value)}:".encode() + name + value)
    return digest.hexdigest()[:40]


def _safe_id(intent: ExitIntent | Malformed, entry_id: str) -> str:
    if isinstance(intent, ExitIntent):
        return intent.intent_id
    return _UNPRINTABLE.sub("", intent.fields.get("intent_id", ""))[:64] or entry_id


def _bounded(plan_id: str) -> str:
    """Long ids keep their beginning and a digest of the whole."""
    if len(plan_id) <= _MAX_ID:
        return plan_id
    digest = hashlib.sha256(plan_id.encode()).hexdigest()[:32]
    return f"{plan_id[: _MAX_ID - 33]}-{digest}"
