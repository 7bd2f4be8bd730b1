"""Parts that sections of the page share: tables, times, words. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

from quantum_exit.exitctl.plain import plain
from quantum_exit.exitctl.report.chart import short
from quantum_exit.exitctl.report.markup import Content, Markup, tag

UNKNOWN: Final = "unknown"
_NAME: Final = 24
_GOOD: Final = frozenset({"PASS", "INFO", "LIVE", "off"})
_WARN: Final = frozenset({"PARTIAL", "SHADOW"})


def table(
    caption: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[Content]],
    numbers: Sequence[str] = (),
    texts: Sequence[str] = (),
) -> Markup:
    """`numbers`: heads of columns to be aligned right; `texts`: of those that may be broken
    anywhere. The roles are said because a phone shows the rows as blocks, which takes their
    meaning away."""

    def kind(head: str) -> str | None:
        return "number" if head in numbers else "text" if head in texts else None

    body = (
        tag(
            "tr",
            (
                tag("td", tag("span", cell), role="cell", data_label=head, class_=kind(head))
                for head, cell in zip(heads, row, strict=True)
            ),
            role="row",
        )
        for row in rows
    )
    head_row = (tag("th", h, scope="col", role="columnheader", class_=kind(h)) for h in heads)
    return tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", head_row, role="row"), role="rowgroup"),
        tag("tbody", body, role="rowgroup"),
        role="table",
    )


def word(text: str) -> Markup:
    """A verdict or a state; its colour only says it again."""
    kind = "good" if text in _GOOD else "warn" if text in _WARN else "bad"
    return tag("span", text, class_=kind)


def name(text: str) -> str:
    """A symbol or a source, short enough for a column: others may send any length."""
    return plain(text, _NAME)


def at(epoch: float) -> Markup:
    return tag("time", utc(epoch), datetime=_iso(epoch))


def utc(epoch: float) -> str:
    return time.strftime("%m-%d %H:%M:%S", time.gmtime(epoch))


def full_utc(epoch: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(epoch))


def price(value: Decimal | None) -> str:
    return UNKNOWN if value is None else short(value)


def gain(value: Decimal | None) -> str:
    """To eight digits at most, with its sign."""
    return UNKNOWN if value is None else ("+" if value > 0 else "") + short(value)


def _iso(epoch: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
