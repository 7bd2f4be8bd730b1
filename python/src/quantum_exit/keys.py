"""Every Redis name of the system, in one place.

The upper part is fixed: other systems and operators rely on these names. The lower
part is ours, and free to change between releases.
"""

from __future__ import annotations

from typing import Final

# --- fixed names -------------------------------------------------------------------
EXIT_INTENT: Final = "quantum:stream:exit.intent"
EXIT_SHADOW: Final = "quantum:stream:exit.shadow"
APPLY_PLAN: Final = "quantum:stream:apply.plan"
APPLY_PLAN_MANUAL: Final = "quantum:stream:apply.plan.manual"
APPLY_RESULT: Final = "quantum:stream:apply.result"
ALERTS: Final = "quantum:stream:alerts"
POLICY_UPDATE: Final = "quantum:stream:policy.update"
POLICY_AUDIT: Final = "quantum:stream:policy.audit"

POLICY_CURRENT: Final = "quantum:policy:current"
KILL_SWITCH: Final = "quantum:kill_switch"
MANUAL_LANE_ENABLED: Final = "quantum:manual_lane:enabled"
EXECUTOR_METRICS: Final = "quantum:metrics:intent_executor"
EXITBRAIN_CONTROL: Final = "quantum:ops:exitbrain:control"

GROUP_EXECUTOR: Final = "intent_executor"
GROUP_EXECUTOR_MANUAL: Final = "intent_executor_manual"
GROUP_PERMITS: Final = "position_state_brain"


def permit(plan_id: str) -> str:
    return f"quantum:permit:p33:{plan_id}"


def snapshot(symbol: str) -> str:
    return f"quantum:position:snapshot:{symbol}"


def ledger(symbol: str) -> str:
    return f"quantum:position:ledger:{symbol}"


def delegation(source: str) -> str:
    return f"quantum:delegation:{source}"


# --- names of our own --------------------------------------------------------------
GROUP_APPLY: Final = "apply_layer"
GROUP_ALERTS: Final = "alerts_delivery"
"""The courier's group on the alerts' stream: acknowledged is what it has on its own disk."""

ALERTS_DELIVERED: Final = "quantum:alerts:delivered"
"""Hash, written by the courier about once a second while something changes:

`destinations` (comma list; empty: alerts end in the journal), `waiting` (alerts not yet at every
destination), `spooled_id` (stream id of the newest alert on its disk), `last_id` (stream id of the
newest that reached every destination), `last_alert_id`, `last_type`, `last_epoch` (the newest
that did, those that never were on the stream included), `repeats` (not sent again within their
window), `canary_epoch` (the last canary that reached every destination), and
for each destination `<name>:last_epoch`, `<name>:waiting`, `<name>:trouble` (empty: none)."""

ALERTS_RECENT: Final = "quantum:alerts:recent"
"""List, newest first, of JSON objects: what became of the last 50 alerts. `alert_id, stream_id
(empty: it never was on the stream), type, severity, taken_epoch, outcome` (`delivered`,
which a proof's drill is without waking anybody, `waiting`, or `repeat`: told by an earlier one)
and `delivered_epoch` (0: not yet)."""

PROOF_VERDICTS: Final = "quantum:proofs:verdicts"
"""Hash: name of a proof -> JSON of how it last ended: `verdict, passed, tests, ts_epoch`."""

PERMIT_READY_CHANNEL: Final = "quantum:permit:ready"
"""Pub/sub: the plan_id of a permit that was just written. It only speeds things up."""

BRAIN_ENV_KILL: Final = "quantum:exitbrain:env_kill"
"""`true` when the brain's env kill switch was active as of its last start."""

EXECUTOR_OPEN: Final = "quantum:executor:open"
"""Hash of open grants: intentions written before a send and not settled yet."""

ENVIRONMENT: Final = "quantum:environment"
"""Hash, once a host has moved from one environment to the other: `name` of the one whose account
the state here belongs to, `since_epoch`, and `results_after`, the last result of the other."""

SNAPSHOT_STATE: Final = "quantum:permits:snapshot_state"
"""Hash: when P3.3 last read the exchange (`ts_epoch`) and which symbols had a position
(`symbols`, JSON list). It tells "no position" from "never observed"."""


def position_baseline(symbol: str) -> str:
    """Hash of P3.3, field `amount`: what of a position our own fills do not explain."""
    return f"quantum:permits:baseline:{symbol}"


def heartbeat(service: str) -> str:
    """`service`: exitbrain, apply_layer, position_state or intent_executor; alerts, metrics."""
    return f"quantum:heartbeat:{service}"


def reconcile_hold(symbol: str) -> str:
    return f"quantum:reconcile:hold:{symbol}"


def reconcile_request(symbol: str) -> str:
    return f"quantum:reconcile:request:{symbol}"


def executor_done(identity: str) -> str:
    return f"quantum:executor:done:{identity}"


def executor_intent_used(intent_id: str) -> str:
    return f"quantum:executor:intent_used:{intent_id}"


def executor_stopped_source(source: str) -> str:
    """Set when a source repeated the same order too often; a person deletes it to re-arm."""
    return f"quantum:executor:stopped:{source}"


def drill(plan_id: str) -> str:
    """Set while a plan is a proof's drill: the executor never sends it, and the watch takes its
    denial for none, or, when it is `alert`, alerts it as a drill. Of an intent's id likewise.
    Only the operator's user may write it."""
    return f"quantum:operator:drill:{plan_id}"
