"""`exitctl shadow-report`: what the Exit Brain would have done, beside what happened."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any, cast

import redis

from quantum_exit import keys
from quantum_exit.brain.shadow_report import ShadowReport, ShadowRow, shadow_report
from quantum_exit.exitctl import status
from quantum_exit.exitctl.context import EXIT_DONE, Context
from quantum_exit.exitctl.ttl import format_age
from quantum_exit.proofs.observe import read_hash
from quantum_exit.values import InvalidNumberError, format_number, parse_amount


def run(context: Context, since_s: int) -> int:
    client = context.redis()
    since = f"{int((time.time() - since_s) * 1000)}-0"
    amounts, marks = _positions(client)
    report = shadow_report(
        _fields(client, keys.EXIT_SHADOW, since),
        _fields(client, keys.APPLY_RESULT, since),
        amounts,
        marks,
    )
    context.emit(report.as_json(), _text(report, since_s))
    return EXIT_DONE


def _fields(client: redis.Redis, stream: str, since: str) -> list[dict[str, str]]:
    return [fields for _, fields in cast("list[Any]", client.xrange(stream, min=since))]


def _positions(client: redis.Redis) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
    """Signed amounts and mark prices of now; what cannot be read is left out."""
    amounts: dict[str, Decimal] = {}
    marks: dict[str, Decimal] = {}
    for key in status.scan(client, keys.snapshot("*")):
        symbol = key.removeprefix(keys.snapshot(""))
        fields = read_hash(client, key)
        for into, name in ((amounts, "position_amt"), (marks, "mark_price")):
            try:
                value = parse_amount(fields.get(name, ""))
            except InvalidNumberError:
                continue
            if value:
                into[symbol] = value
    return amounts, marks


def _text(report: ShadowReport, since_s: int) -> str:
    lines = [f"SHADOW REPORT of the last {format_age(since_s)}: {len(report.rows)} exit(s)"]
    lines += [_row(row) for row in report.rows]
    if report.unreadable:
        lines.append(f"  {report.unreadable} entries could not be read")
    if report.rows:
        total = format_number(report.total_gain)
        lines.append(f"What waiting brought, in the quote asset: {total} (below 0: a loss)")
    return "\n".join(lines)


def _row(row: ShadowRow) -> str:
    at = time.strftime("%m-%d %H:%M:%S", time.gmtime(row.at_epoch))
    would = "?" if row.would_price is None else format_number(row.would_price)
    size = f"{row.side} {format_number(row.quantity)} at {would}"
    after = "" if row.after_s is None else f" after {format_age(row.after_s)}"
    by = f" by {row.by}" if row.by else ""
    price = "" if row.price is None else f" at {format_number(row.price)}"
    gain = "" if row.gain is None else f", gain {format_number(row.gain)}"
    what = f"{row.happened.value}{by}{after}{price}{gain}"
    return f"  {at} {row.symbol} {size} for {row.reason[:40]}: {what}"
