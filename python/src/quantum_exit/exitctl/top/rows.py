"""The rows of `top`: each thing on one or two lines, with all there is to say in its detail."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from quantum_exit.exitctl.plain import fit, plain
from quantum_exit.exitctl.status_view import (
    NO_STOP,
    beat_text,
    guard_text,
    pending_text,
    policy_text,
    position_text,
    proof_text,
    read_text,
    unusual_lines,
)
from quantum_exit.exitctl.top.bar import Levels, bar, room_pct
from quantum_exit.values import InvalidNumberError, parse_amount

LISTS: Final = ("POSITIONS", "DECISIONS", "DENIALS", "ALERTS")
_BAR: Final = 34
_SIGNS: Final = "✅❌⚠️ "
"""Before a verdict, which says it all; not every terminal knows how wide they are."""
_TODAY_S: Final = 12 * 3600

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Item:
    """`lines`: as it stands in its list; `detail`: told in full when it is chosen."""

    lines: tuple[str, ...]
    detail: str
    bad: bool = False

    @property
    def tall(self) -> int:
        return len(self.lines)


def service_lines(document: Document) -> list[str]:
    """Two services a line; one that is not ready has a line for itself, with its reason."""
    ready: list[str] = []
    lines: list[str] = []
    for name, service in document["services"].items():
        if service["ready"]:
            ready.append(fit(f"{name:15} ready, {beat_text(service)}", 36))
        else:
            lines.append(f"{name:15} NOT READY, {beat_text(service)}: {plain(service['status'])}")
    told = [*lines, *("".join(ready[at : at + 2]).rstrip() for at in range(0, len(ready), 2))]
    return [f"{'SERVICES' if not at else '':9} {text}" for at, text in enumerate(told)]


def summary_lines(document: Document, counts: Mapping[str, int | None]) -> list[str]:
    """The rest of the host on a few lines."""
    plans = document["open_plans"]
    lines = [
        f"PROOF     {proof_text(document['last_proof']).lstrip(_SIGNS)}",
        f"PLANS     {_count(counts.get('processed'))} done, "
        f"{_count(counts.get('executed_true'))} executed, "
        f"{_count(counts.get('exit_owner_denied'))} denied as not the exit owner, "
        f"{len(plans)} open",
    ]
    if any(row["pending"] != 0 for row in document["pending"]):
        lines.append(f"PENDING   {pending_text(document['pending'])}")
    if document["policy"]["state"] != "valid":
        lines.append(f"POLICY    {policy_text(document['policy'])}")
    return lines + unusual_lines(document)


def positions_head(positions: Document) -> str:
    return read_text(positions)


def position_items(positions: Document) -> list[Item]:
    return [_position_item(row) for row in positions["rows"]]


def _position_item(row: Document) -> Item:
    guard = row["guard"]
    levels = Levels(
        entry=_price(row["entry_price"]),
        price=_price(row["mark_price"]),
        stop=_price(guard["stop"]) if guard else None,
        target=_price(guard["target"]) if guard else None,
        is_long=row["side"] == "LONG",
    )
    if guard is None:
        second = f"  {NO_STOP}"
    else:
        target = f"target {guard['target']}" if guard["target"] else "no target"
        second = f"  stop {guard['stop']} {bar(levels, _BAR)} {target}"
    room = room_pct(levels)
    detail = f"{row['symbol']}: {guard_text(guard)}"
    if room is not None:
        detail += f"; the price is {abs(room)} % {'from' if room > 0 else 'THROUGH'} the stop"
    bad = guard is None or (room is not None and room <= 0)
    return Item((position_text(row), second), detail, bad=bad)


def decision_item(row: Document, now_epoch: float) -> Item:
    reason = row["reason"] or "no reason given"
    line = f"{_clock(row, now_epoch)} {row['symbol']:10} {row['what']}: {row['outcome']}; {reason}"
    detail = (
        f"{_clock(row, now_epoch)} {row['symbol']} {row['what']} by {row['by']}. Reason: {reason}. "
        f"Outcome: {row['outcome']}"
    )
    return Item((line,), detail)


def denial_item(row: Document, now_epoch: float) -> Item:
    line = (
        f"{_clock(row, now_epoch)} {row['symbol']:10} {row['what']} by {row['by']}: "
        f"{row['decision']} {row['error']}"
    )
    detail = f"{line}. Plan {row['plan_id']}"
    return Item((line,), detail, bad=True)


def alert_item(row: Document, now_epoch: float) -> Item:
    line = f"{_clock(row, now_epoch)} {row['severity']:8} {row['type']}: {row['details']}"
    return Item((line,), line, bad=row["severity"] == "CRITICAL" and not row["drill"])


def _clock(row: Document, now_epoch: float) -> str:
    """The time of day; of what is older than half a day the date and no seconds."""
    at_epoch = row["at_epoch"]
    form = "%H:%M:%S" if now_epoch - at_epoch < _TODAY_S else "%m-%d %H:%M"
    return time.strftime(form, time.gmtime(at_epoch))


def _count(number: int | None) -> str:
    return "?" if number is None else str(number)


def _price(text: str | None) -> Decimal | None:
    try:
        return parse_amount(text or "")
    except InvalidNumberError:
        return None
