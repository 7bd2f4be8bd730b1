"""The frame of `top`: what was seen becomes lines of one screen. Pure."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from quantum_exit.exitctl.plain import fit, plain, wrap
from quantum_exit.exitctl.status_view import mode_line, switch_line
from quantum_exit.exitctl.top import rows
from quantum_exit.exitctl.top.reading import Seen, aged
from quantum_exit.exitctl.ttl import format_age

DETAIL_LINES: Final = 2
_KEYS: Final = "q quit   left/right list   up/down select   S stop E entry * price T target"


class Style(StrEnum):
    """Only ever says again what the text says already."""

    PLAIN = "plain"
    HEAD = "head"
    GOOD = "good"
    BAD = "bad"
    CHOSEN = "chosen"


@dataclass(frozen=True, slots=True)
class Line:
    text: str
    style: Style = Style.PLAIN


@dataclass(slots=True)
class Choice:
    """Which list the keys move in, and the row chosen in each."""

    focus: int = 0
    row: dict[str, int] = field(default_factory=dict)

    def turn(self, step: int) -> None:
        self.focus = (self.focus + step) % len(rows.LISTS)

    def move(self, step: int, length: int) -> None:
        name = rows.LISTS[self.focus]
        self.row[name] = min(max(self.row.get(name, 0) + step, 0), max(length - 1, 0))


@dataclass(frozen=True, slots=True)
class _List:
    name: str
    head: str
    items: Sequence[rows.Item]

    @property
    def tall(self) -> int:
        return self.items[0].tall if self.items else 1


def frame(seen: Seen, choice: Choice | None, wide: int, high: int, now_epoch: float) -> list[Line]:
    """At most `high` lines of `wide` columns. `choice` None: a frame on its own, without keys."""
    head = [_title(seen, now_epoch), *_top_lines(seen, now_epoch)]
    lists = _lists(seen, now_epoch)
    foot = _foot(lists, choice, wide) if choice else []
    body: list[Line] = []
    if lists:
        room = high - len(head) - len(foot)
        body = _body(lists, choice, room)
    lines = head + body
    lines = lines[: max(high - len(foot), 0)]
    if foot:
        lines += [Line("")] * (high - len(foot) - len(lines)) + foot[-high:]
    return [Line(fit(_printable(line.text), wide), line.style) for line in lines]


def lengths(seen: Seen) -> dict[str, int]:
    """How many rows each list has."""
    return {each.name: len(each.items) for each in _lists(seen, seen.at_epoch)}


def _printable(text: str) -> str:
    """The last guard, whatever a row was made of; unlike `plain` it keeps the columns."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _title(seen: Seen, now_epoch: float) -> Line:
    clock = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now_epoch))
    if not seen.at_epoch:
        return Line(f"exitctl top   {clock}", Style.HEAD)
    age_s = max(now_epoch - seen.at_epoch, 0)
    told = f"read {format_age(age_s)} ago" + (", STALE" if seen.error else "")
    return Line(f"exitctl top   {clock}   {told}", Style.HEAD)


def _top_lines(seen: Seen, now_epoch: float) -> list[Line]:
    if seen.error:
        return _without_redis(seen, now_epoch)
    if seen.status is None:
        return [Line("reading …" if not seen.at_epoch else "nothing was read")]
    document = aged(seen.status, now_epoch - seen.at_epoch)
    live = document["mode"]["state"] == "LIVE"
    switch = document["kill_switch"]
    lines = [
        Line(mode_line(document), Style.GOOD if live else Style.BAD),
        Line(switch_line(switch), Style.BAD if switch["on"] else Style.GOOD),
    ]
    return lines + _host_lines(document, seen.lately or {})


def _without_redis(seen: Seen, now_epoch: float) -> list[Line]:
    host: Mapping[str, Any] = seen.host or {}
    state = host.get("redis_state", "DOES NOT ANSWER: nothing trades")
    lines = [Line(f"REDIS     {state} ({plain(seen.error)})", Style.BAD)]
    if "kill_switch" in host:
        lines.append(Line(switch_line(host["kill_switch"]), Style.BAD))
    if seen.status is None:
        return [*lines, Line("nothing was read yet; trying again", Style.BAD)]
    at = time.strftime("%H:%M:%S UTC", time.gmtime(seen.at_epoch))
    since = format_age(max(now_epoch - seen.at_epoch, 0))
    lines.append(Line(f"STALE     all below is as of {at}, {since} ago", Style.BAD))
    document = aged(seen.status, now_epoch - seen.at_epoch)
    lines.append(Line(f"{mode_line(document)} (then)"))
    return lines + _host_lines(document, seen.lately or {})


def _host_lines(document: Mapping[str, Any], lately: Mapping[str, Any]) -> list[Line]:
    bad = any(not service["ready"] for service in document["services"].values())
    lines = [
        Line(text, Style.BAD if bad and "NOT READY" in text else Style.PLAIN)
        for text in rows.service_lines(document)
    ]
    return lines + [Line(text) for text in rows.summary_lines(document, lately.get("counts", {}))]


def _lists(seen: Seen, now_epoch: float) -> list[_List]:
    if seen.status is None:
        return []
    document = aged(seen.status, now_epoch - seen.at_epoch)
    lately = seen.lately or {}
    held = rows.position_items(document["positions"])
    decided = [rows.decision_item(row, now_epoch) for row in lately.get("decisions", ())]
    refused = [rows.denial_item(row, now_epoch) for row in lately.get("denials", ())]
    alerted = [rows.alert_item(row, now_epoch) for row in lately.get("alerts", ())]
    found = {
        "POSITIONS": (rows.positions_head(document["positions"]), held),
        "DECISIONS": ("", decided),
        "DENIALS": (_drills_text(lately), refused),
        "ALERTS": ("", alerted),
    }
    return [_List(name, *found[name]) for name in rows.LISTS]


def _drills_text(lately: Mapping[str, Any]) -> str:
    count = lately.get("drills", 0)
    return f"(and {count} of proofs' drills)" if count else ""


def _body(lists: Sequence[_List], choice: Choice | None, room: int) -> list[Line]:
    shares = share(lists, choice.focus if choice else 0, room - len(lists))
    body: list[Line] = []
    for index, (each, share_lines) in enumerate(zip(lists, shares, strict=True)):
        focused = choice is not None and choice.focus == index
        chosen = min(choice.row.get(each.name, 0), len(each.items) - 1) if choice else -1
        body += _list_lines(each, share_lines, chosen, focused=focused)
    return body


def share(lists: Sequence[_List], focus: int, free: int) -> list[int]:
    """How many lines each list gets: one each, then turn by turn as long as one wants more,
    the list with the keys twice a turn."""
    shares = [0] * len(lists)
    wants = [max(len(each.items) * each.tall, 1) for each in lists]
    order = [focus, *range(len(lists))]
    while free > 0:
        before = free
        for index in order:
            step = lists[index].tall if lists[index].items else 1
            if shares[index] + step <= wants[index] and step <= free:
                shares[index] += step
                free -= step
        if free == before:
            break
    return shares


def _list_lines(each: _List, room: int, chosen: int, *, focused: bool) -> list[Line]:
    fitting = room // each.tall
    first = min(max(chosen - fitting + 1, 0), max(len(each.items) - fitting, 0))
    shown = each.items[first : first + fitting]
    more = f"{first + 1}-{first + len(shown)} of {len(each.items)}" if each.items else ""
    name = f"[{each.name}]" if focused else each.name
    lines = [Line(f"{name:10} {more:12} {each.head}".rstrip(), Style.HEAD)]
    if not each.items and room:
        lines.append(Line("  none"))
    for index, item in enumerate(shown, start=first):
        here = focused and index == chosen
        style = Style.CHOSEN if here else (Style.BAD if item.bad else Style.PLAIN)
        mark = ">" if here else " "
        lines += [Line(f"{mark} {text}", style) for text in item.lines]
    return lines


def _foot(lists: Sequence[_List], choice: Choice, wide: int) -> list[Line]:
    detail = ""
    if lists:
        each = lists[choice.focus]
        if each.items:
            detail = each.items[min(choice.row.get(each.name, 0), len(each.items) - 1)].detail
    lines = wrap(detail, wide, DETAIL_LINES)
    lines += [""] * (DETAIL_LINES - len(lines))
    return [*(Line(text) for text in lines), Line(_KEYS, Style.HEAD)]
