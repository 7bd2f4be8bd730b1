"""`exitctl audit`: who changed what lately, and which leave holds now."""

from __future__ import annotations

import time
from typing import Any, cast

import redis

from quantum_exit import keys
from quantum_exit.exitctl import status
from quantum_exit.exitctl.context import EXIT_DONE, Context
from quantum_exit.exitctl.plain import plain
from quantum_exit.exitctl.ttl import format_age
from quantum_exit.proofs.observe import load_json, read_text


def run(context: Context, limit: int) -> int:
    client = context.redis()
    document = {
        "control": _control(client, limit),
        "kill_switch": load_json(read_text(client, keys.KILL_SWITCH)),
        "manual_lane": status.manual_lane(client),
        "delegations": status.delegations(client),
        "stopped_sources": _stopped(client),
        "alerts": _entries(client, keys.ALERTS, limit),
        "policy": _entries(client, keys.POLICY_AUDIT, limit),
    }
    context.emit(document, _text(document))
    return EXIT_DONE


def _control(client: redis.Redis, limit: int) -> list[Any]:
    """Newest first; an entry that is no JSON is shown as it is."""
    texts = cast("list[str]", client.lrange(keys.EXITBRAIN_CONTROL, 0, limit - 1))
    acts = [(text, load_json(text)) for text in texts]
    return [
        act if isinstance(act, dict) else {"event": "UNREADABLE", "text": text[:200]}
        for text, act in acts
    ]


def _stopped(client: redis.Redis) -> list[str]:
    prefix = keys.executor_stopped_source("")
    return [key.removeprefix(prefix) for key in status.scan(client, f"{prefix}*")]


def _entries(client: redis.Redis, stream: str, limit: int) -> list[dict[str, str]]:
    page = cast("list[Any]", client.xrevrange(stream, count=limit))
    return [{**fields, "id": entry_id} for entry_id, fields in page]


def _text(document: dict[str, Any]) -> str:
    lines = ["CONTROL (newest first)"]
    for act in document["control"]:
        where = ", ".join(
            f"{name}={value}"
            for name, value in act.items()
            if name not in {"event", "by", "reason", "at", "epoch"}
        )
        said = f"{act.get('at', '?'):20} {act.get('event', '?'):24} {act.get('by', '?')}"
        lines.append(f"  {said}: {act.get('reason', '')} {where}".rstrip())
    lines += ["  none"] if not document["control"] else []
    lane = document["manual_lane"]
    lines.append(f"MANUAL LANE  {'on for ' + format_age(lane['ttl_s']) if lane['on'] else 'off'}")
    lines.append("DELEGATIONS")
    for leave in document["delegations"]:
        left = format_age(leave["ttl_s"])
        lines.append(f"  {leave['source']}: {leave['symbol']} for {left} more, {leave['why']}")
    lines += ["  none"] if not document["delegations"] else []
    if document["stopped_sources"]:
        lines.append(f"STOPPED SOURCES  {', '.join(document['stopped_sources'])}: exitctl rearm")
    lines.append("ALERTS (newest first)")
    lines += [
        f"  {_at(a['id'])} {a.get('severity', '?'):8} {a.get('alert_type', '?')} "
        f"{a.get('details', '')[:200]}"
        for a in document["alerts"]
    ] or ["  none"]
    lines.append("POLICY (newest first)")
    lines += [
        f"  {_at(p['id'])} {p.get('event', '?')} {p.get('policy_version', '')} "
        f"{p.get('problems', '')[:200]}".rstrip()
        for p in document["policy"]
    ] or ["  none"]
    return "\n".join(plain(line, 2000) for line in lines)


def _at(entry_id: str) -> str:
    seconds = int(entry_id.partition("-")[0]) // 1000
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
