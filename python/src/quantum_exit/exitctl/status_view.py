"""The status as text: 80 columns, the most important line first, no colour needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quantum_exit.exitctl.ttl import format_age

Document = Mapping[str, Any]


def render(document: Document) -> str:
    lines = [_switch(document["kill_switch"])]
    if "redis_error" in document:
        lines.append(
            "REDIS     DOES NOT ANSWER: nothing trades; below is what the host itself says"
        )
        lines += _units_alone(document["units"])
        return "\n".join(lines)
    lines.insert(0, _mode(document))
    lines += _services(document)
    lines += _positions(document["positions"])
    lines += _open_plans(document["open_plans"])
    lines += _rest(document)
    return "\n".join(lines)


def _mode(document: Document) -> str:
    mode = document["mode"]
    why = f"  ({'; '.join(mode['why'])})" if mode["why"] else ""
    return f"MODE      {mode['state']}{why}  owner {document['owner']}"


def _switch(switch: Document) -> str:
    head = "KILL SWITCH ON" if switch["on"] else "off"
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
        age = "no beat" if service["age_s"] is None else f"beat {format_age(service['age_s'])}"
        ready = "ready    " if service["ready"] else "NOT READY"
        lines.append(f"  {name:16} {ready} {manager}{age:12} {service['status']}"[:200])
    if "error" in units:
        lines.append(f"  {units['error']}")
    return lines


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
    age_s = positions["read_age_s"]
    if age_s is None:
        return ["POSITIONS never read"]
    stale = "STALE, " if age_s > 10 else ""
    lines = [f"POSITIONS ({stale}read {format_age(age_s)} ago)"]
    if not positions["rows"]:
        lines.append("  none")
    for row in positions["rows"]:
        lines.append(
            f"  {row['symbol']:12} {row['side']:5} {row['position_amt']:>12}  entry "
            f"{row['entry_price']}  mark {row['mark_price']}  pnl {row['unrealized_pnl']}"
        )
        lines.append(f"  {'':12} {_guard(row['guard'])}")
    return lines


def _guard(guard: Document | None) -> str:
    if guard is None:
        return "NO STOP: the Exit Brain does not know this position"
    closing = f", CLOSING by {guard['closing']}" if guard["closing"] else ""
    bare = f", unprotected for {guard['unprotected_s']:.1f} s" if guard["unprotected_s"] else ""
    age = format_age(guard["open_for_s"])
    return f"stop {guard['stop']} ({guard['rule']}), open for {age}{bare}{closing}"


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
    lines = []
    pending = [
        f"{row['group']}@{row['stream'].removeprefix('quantum:stream:')} "
        f"{'no group' if row['pending'] is None else row['pending']}"
        for row in document["pending"]
        if row["pending"] != 0
    ]
    lines.append(f"PENDING   {', '.join(pending) or '0 in every group'}")
    lines.append(f"POLICY    {_policy(document['policy'])}")
    lane = document["manual_lane"]
    if lane["on"]:
        lines.append(f"MANUAL    lane ON for {format_age(lane['ttl_s'])}")
    for grant in document["delegations"]:
        left = format_age(grant["ttl_s"])
        lines.append(f"DELEGATED {grant['source']} may exit {grant['symbol']} for {left}")
    if document["holds"]:
        lines.append(f"HELD      {', '.join(document['holds'])}: `exitctl reconcile SYMBOL`")
    proof = document["last_proof"]
    said = (
        f"{proof['verdict']} {format_age(proof['age_s'])} ago" if proof else "none in the log yet"
    )
    lines.append(f"PROOF     {said}")
    return lines


def _policy(policy: Document) -> str:
    if policy["state"] == "valid":
        return f"version {policy['version']}, valid for {format_age(policy['left_s'])}"
    if policy["state"] == "STALE":
        return f"STALE for {format_age(policy['expired_for_s'])}: nothing is opened"
    return f"{policy['why'].upper()}: nothing is opened"
