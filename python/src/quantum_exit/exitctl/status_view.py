"""The status as text: 80 columns, the most important line first, no colour needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from quantum_exit.bus.heartbeat import STALE_AFTER_S
from quantum_exit.exitctl.ttl import format_age

Document = Mapping[str, Any]

NO_STOP: Final = "NO STOP: the Exit Brain does not know this position"


def render(document: Document) -> str:
    lines = [switch_line(document["kill_switch"])]
    if "redis_error" in document:
        lines.append(f"REDIS     {document['redis_state']}; below is what the host itself says")
        lines += _units_alone(document["units"])
        return "\n".join(lines)
    lines.insert(0, mode_line(document))
    lines += _services(document)
    lines += _positions(document["positions"])
    lines += _open_plans(document["open_plans"])
    lines += _rest(document)
    return "\n".join(lines)


def mode_line(document: Document) -> str:
    mode = document["mode"]
    why = f"  ({'; '.join(mode['why'])})" if mode["why"] else ""
    return f"MODE      {mode['state']}{why}  owner {document['owner']}"


def switch_line(switch: Document) -> str:
    head = "KILL SWITCH ON" if switch["on"] else "off"
    head += f": {switch['why']}" if switch.get("why") else ""
    places = " · ".join(
        f"{p['name']} {p['state']}" + (f" ({p['why']})" if p["state"] != "off" else "")
        for p in switch["places"]
    )
    return f"SWITCH    {head}   {places}"


def _services(document: Document) -> list[str]:
    lines = ["SERVICES"]
    units = document["units"] or {}
    for name, service in document["services"].items():
        unit = units.get(name)
        manager = f"{unit['active']:8} " if isinstance(unit, Mapping) else ""
        age = beat_text(service)
        ready = "ready    " if service["ready"] else "NOT READY"
        lines.append(f"  {name:16} {ready} {manager}{age:12} {service['status']}"[:200])
    if "error" in units:
        lines.append(f"  {units['error']}")
    return lines


def beat_text(service: Document) -> str:
    return "no beat" if service["age_s"] is None else f"beat {format_age(service['age_s'])}"


def _units_alone(units: Document | None) -> list[str]:
    if not units:
        return []
    return ["SERVICES"] + [
        f"  {name:16} {unit['active']} ({unit['sub']})"
        if isinstance(unit, Mapping)
        else f"  {unit}"
        for name, unit in units.items()
    ]


def _positions(positions: Document) -> list[str]:
    lines = [f"POSITIONS {read_text(positions)}"]
    if not positions["rows"] and positions["read_age_s"] is not None:
        lines.append("  none")
    for row in positions["rows"]:
        lines.append(f"  {position_text(row)}")
        lines.append(f"  {'':12} {guard_text(row['guard'])}")
    return lines


def read_text(positions: Document) -> str:
    """When P3.3 last read the exchange. Never read, stale and fresh are three answers."""
    age_s = positions["read_age_s"]
    if age_s is None:
        return "never read"
    stale = "" if -STALE_AFTER_S < age_s <= STALE_AFTER_S else "STALE, "
    return f"({stale}read {format_age(age_s)} ago)"


def position_text(row: Document) -> str:
    return (
        f"{row['symbol']:12} {row['side']:5} {row['position_amt']:>12}  entry "
        f"{row['entry_price']}  mark {row['mark_price']}  pnl {row['unrealized_pnl']}"
    )


def guard_text(guard: Document | None) -> str:
    if guard is None:
        return NO_STOP
    closing = f", CLOSING by {guard['closing']}" if guard["closing"] else ""
    bare = f", unprotected for {guard['unprotected_s']:.1f} s" if guard["unprotected_s"] else ""
    age = format_age(guard["open_for_s"])
    target = f", target {guard['target']}" if guard["target"] else ""
    return f"stop {guard['stop']} ({guard['rule']}){target}, open for {age}{bare}{closing}"


def _open_plans(plans: list[Document]) -> list[str]:
    lines = [f"OPEN      {len(plans)} plan(s) without a result yet"]
    for plan in plans:
        if plan["state"] == "unreadable":
            lines.append(f"  {plan['field']}: UNREADABLE")
            continue
        age = "" if plan["age_s"] is None else f", {format_age(plan['age_s'])}"
        lines.append(
            f"  {plan['state']}: {plan['symbol']} {plan['side']} {plan['type']} {plan['qty']} "
            f"(plan {plan['plan_id']} of {plan['source']}{age})"
        )
    return lines


def _rest(document: Document) -> list[str]:
    return [
        f"PENDING   {pending_text(document['pending'])}",
        f"POLICY    {policy_text(document['policy'])}",
        *unusual_lines(document),
        f"PROOF     {proof_text(document['last_proof'])}",
    ]


def pending_text(groups: list[Document]) -> str:
    pending = [
        f"{row['group']}@{row['stream'].removeprefix('quantum:stream:')} "
        f"{'no group' if row['pending'] is None else row['pending']}"
        for row in groups
        if row["pending"] != 0
    ]
    return ", ".join(pending) or "0 in every group"


def unusual_lines(document: Document) -> list[str]:
    """What lets more or less through than usual; no line where everything is as usual."""
    lines = []
    state, held = document["mode"]["state"], len(document["positions"]["rows"])
    if state in {"SHADOW", "KILLED"} and held:
        rest = "only stops on the exchange guard them"
        lines.append(f"UNGUARDED {held} position(s): no exit is sent in {state}, {rest}")
    lane = document["manual_lane"]
    if lane["on"]:
        lines.append(f"MANUAL    lane ON for {format_age(lane['ttl_s'])}")
    for grant in document["delegations"]:
        left = format_age(grant["ttl_s"])
        lines.append(f"DELEGATED {grant['source']} may exit {grant['symbol']} for {left}")
    if document["holds"]:
        lines.append(f"HELD      {', '.join(document['holds'])}: `exitctl reconcile SYMBOL`")
    if document["stopped_sources"]:
        sources = ", ".join(document["stopped_sources"])
        lines.append(f"STOPPED   {sources}, for repeating itself: `exitctl rearm SOURCE`")
    return lines


def proof_text(proof: Document | None) -> str:
    if not proof:
        return "none in the log yet"
    return f"{proof['verdict']} {format_age(proof['age_s'])} ago"


def policy_text(policy: Document) -> str:
    if policy["state"] == "valid":
        return f"version {policy['version']}, valid for {format_age(policy['left_s'])}"
    if policy["state"] == "STALE":
        return f"STALE for {format_age(policy['expired_for_s'])}: nothing is opened"
    return f"{policy['why'].upper()}: nothing is opened"
