"""`exitctl shadow-report`: what the Exit Brain would have done, beside what happened."""

from __future__ import annotations

import time
from collections.abc import Mapping
from decimal import Decimal

import redis

from quantum_exit import keys
from quantum_exit.brain.shadow_report import ShadowReport, ShadowRow, shadow_report
from quantum_exit.exitctl import status
from quantum_exit.exitctl.activity import Entry
from quantum_exit.exitctl.context import EXIT_DONE, Context
from quantum_exit.exitctl.report.streams import newest
from quantum_exit.exitctl.ttl import format_age
from quantum_exit.proofs.observe import read_hash
from quantum_exit.values import InvalidNumberError, format_number, parse_amount


def run(context: Context, since_s: int) -> int:
    client = context.redis()
    since = time.time() - since_s
    amounts, marks = _positions(client)
    shadow, results = (
        newest(client, stream, since) for stream in (keys.EXIT_SHADOW, keys.APPLY_RESULT)
    )
    report = shadow_report(_fields(shadow[0]), _fields(results[0]), amounts, marks)
    whole = shadow[1] and results[1]
    told = "" if whole else "\nOnly the newest entries of the period were read: it is too long"
    context.emit({**report.as_json(), "whole": whole}, _text(report, since_s) + told)
    return EXIT_DONE


def _fields(entries: list[Entry]) -> list[Mapping[str, str]]:
    """Oldest first."""
    return [fields for _, fields in reversed(entries)]


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
