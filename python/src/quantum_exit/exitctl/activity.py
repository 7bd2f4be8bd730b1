"""What happened lately: what was decided and why, what was refused, what was alerted.

Everything comes from Redis, a bounded number of entries of each stream in two round trips:
cheap enough to be read every second beside live trading.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import redis

from quantum_exit import keys
from quantum_exit.brain.results import PlanResult, read_fields
from quantum_exit.exitctl.plain import plain
from quantum_exit.proofs.observe import load_json

KEPT: Final = 50
"""Rows of each kind."""
_RESULTS: Final = 4 * KEPT
"""Results are read further back: a proof provokes several that are of no interest here."""
_ANSWER_S: Final = 60.0
"""An intent's lifetime: later than this no result is to be expected."""
_METRICS: Final = ("processed", "executed_true", "executed_false", "exit_owner_denied")

Document = dict[str, Any]
Entry = tuple[str, Mapping[str, str]]


def collect(client: redis.Redis) -> Document:
    """Newest first. `drills`: denials that proofs provoked and that are not among the others.
    Raises redis.RedisError."""
    pipe: Any = client.pipeline(transaction=False)
    for stream in (keys.EXIT_INTENT, keys.EXIT_SHADOW):
        pipe.xrevrange(stream, count=KEPT)
    for stream in (keys.APPLY_RESULT, keys.APPLY_PLAN):
        pipe.xrevrange(stream, count=_RESULTS)
    pipe.xrevrange(keys.ALERTS, count=KEPT)
    pipe.hmget(keys.EXECUTOR_METRICS, _METRICS)
    intents, shadows, results, plans, alerts, counts = pipe.execute()
    denied = denials(results)
    drills = _drills(client, denied)
    return {
        "decisions": decisions(intents, shadows, results, plans, time.time())[:KEPT],
        "denials": [row for row in denied if row["plan_id"] not in drills][:KEPT],
        "drills": len(drills),
        "alerts": [alert_row(entry) for entry in alerts],
        "counts": dict(zip(_METRICS, (_count(text) for text in counts), strict=True)),
    }


def decisions(
    intents: Sequence[Entry],
    shadows: Sequence[Entry],
    results: Sequence[Entry],
    plans: Sequence[Entry],
    now_epoch: float,
) -> list[Document]:
    """Newest first: the exits that were asked for, or in SHADOW would have been, each with
    what became of it; and what was executed for others."""
    answers = [(entry, read_fields(entry[1])) for entry in results]
    reasons = {fields.get("plan_id", ""): fields.get("reason", "") for _, fields in plans}
    rows = [_shadow_row(entry) for entry in shadows]
    told: set[str] = set()
    for entry in intents:
        answer = _answer(entry[1].get("intent_id", ""), answers)
        if answer:
            told.add(answer.plan_id)
        rows.append(_intent_row(entry, answer, now_epoch))
    rows += [
        _execution_row(entry, reasons)
        for entry, answer in answers
        if entry[1].get("executed") == "true" and answer.plan_id not in told
    ]
    return sorted(rows, key=lambda row: float(row["at_epoch"]), reverse=True)


def denials(results: Sequence[Entry]) -> list[Document]:
    """In the order of the results: what was not executed, by whom it was sent, and why not."""
    return [
        {
            "at_epoch": at_epoch(entry_id),
            "symbol": plain(fields.get("symbol", ""), 40),
            "what": plain(f"{fields.get('side', '')} {fields.get('qty', '')}", 80),
            "by": plain(fields.get("plan_source", ""), 64),
            "decision": plain(fields.get("decision", ""), 20),
            "error": plain(fields.get("error", "")),
            "plan_id": plain(fields.get("plan_id", ""), 128),
        }
        for entry_id, fields in results
        if fields.get("executed") != "true"
    ]


def _drills(client: redis.Redis, rows: Sequence[Document]) -> frozenset[str]:
    """Ids of plans that a proof sent to see them denied. A plan's name proves nothing: only
    the operator's user can have registered the id."""
    ids = [row["plan_id"] for row in rows]
    pipe: Any = client.pipeline(transaction=False)
    for plan_id in ids:
        pipe.exists(keys.drill(plan_id))
    return frozenset(plan_id for plan_id, there in zip(ids, pipe.execute(), strict=True) if there)


def alert_row(entry: Entry) -> Document:
    """One that a proof provoked to see it is said to be a drill."""
    entry_id, fields = entry
    drill = bool(fields.get("drill"))
    return {
        "at_epoch": at_epoch(entry_id),
        "severity": plain(fields.get("severity", "?"), 20),
        "type": plain(fields.get("alert_type", "?"), 64) + (" (drill)" if drill else ""),
        "drill": drill,
        "details": _details(fields.get("details", "")),
    }


def at_epoch(entry_id: str) -> float:
    """When Redis took the entry, Unix seconds."""
    return int(entry_id.partition("-")[0]) / 1000


def _answer(intent_id: str, answers: Sequence[tuple[Entry, PlanResult]]) -> PlanResult | None:
    if not intent_id:
        return None
    return next((answer for _, answer in answers if answer.answers(intent_id)), None)


def _intent_row(entry: Entry, answer: PlanResult | None, now_epoch: float) -> Document:
    entry_id, fields = entry
    if answer:
        outcome = plain(f"{answer.decision} {answer.error}".strip())
    elif now_epoch - at_epoch(entry_id) > _ANSWER_S:
        outcome = "no result among the last ones"
    else:
        outcome = "no result yet"
    return _asked(entry_id, fields, outcome)


def _shadow_row(entry: Entry) -> Document:
    mode = plain(entry[1].get("mode", "SHADOW"), 20)
    return _asked(entry[0], entry[1], f"{mode}: not sent")


def _asked(entry_id: str, fields: Mapping[str, str], outcome: str) -> Document:
    size = fields.get("quantity", "")
    trigger = f" at {fields['trigger_price']}" if fields.get("trigger_price") else ""
    what = f"{fields.get('action', '?')} {fields.get('side', '')} {size}".rstrip() + trigger
    return {
        "at_epoch": at_epoch(entry_id),
        "symbol": plain(fields.get("symbol", ""), 40),
        "what": plain(what, 120),
        "by": plain(fields.get("source", ""), 64),
        "reason": plain(fields.get("reason", "")),
        "outcome": outcome,
    }


def _execution_row(entry: Entry, reasons: Mapping[str, str]) -> Document:
    entry_id, fields = entry
    price = load_json(fields.get("details"))
    at = price.get("avg_price") if isinstance(price, dict) else None
    filled = f"{fields.get('side', '')} {fields.get('filled_qty', '')}"
    return {
        "at_epoch": at_epoch(entry_id),
        "symbol": plain(fields.get("symbol", ""), 40),
        "what": plain(filled + (f" at {at}" if at else ""), 120),
        "by": plain(fields.get("plan_source", ""), 64),
        "reason": plain(reasons.get(fields.get("plan_id", ""), "")),
        "outcome": plain(fields.get("decision", ""), 20),
    }


def _details(text: str) -> str:
    """`{"a": 1, "b": "x"}` as `a=1, b=x`: short enough for one line of a screen."""
    content = load_json(text)
    if not isinstance(content, dict):
        return plain(text)
    return plain(", ".join(f"{name}={value}" for name, value in content.items()))


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
