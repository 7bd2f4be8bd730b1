"""The sections of the page, one function each. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from quantum_exit.exitctl.activity import Document
from quantum_exit.exitctl.plain import plain
from quantum_exit.exitctl.report import latency
from quantum_exit.exitctl.report.chart import candles_of, chart
from quantum_exit.exitctl.report.collect import Report
from quantum_exit.exitctl.report.episodes import Episode
from quantum_exit.exitctl.report.markup import Content, Markup, tag
from quantum_exit.exitctl.report.parts import UNKNOWN, at, gain, name, price, table, word
from quantum_exit.exitctl.report.proof_log import in_buckets
from quantum_exit.exitctl.ttl import format_age
from quantum_exit.proofs.model import Proof
from quantum_exit.values import format_number

_ROWS: Final = 50
_POSITIONS: Final = 500
_CHARTS: Final = 40
_STRIP: Final = 72
_NUMBERS: Final = ("Quantity", "Entry", "Exit", "Gain", "Held")
_QUANTILES: Final = (("median", 0.5), ("95 %", 0.95), ("longest", 1.0))


def unknown(report: Report) -> Markup | None:
    """First on the page: what the rest of it cannot say."""
    if not report.unknown:
        return None
    return _section("Not known", tag("ul", (tag("li", text) for text in report.unknown)))


def proofs(report: Report) -> Markup:
    told = f"Run for this report, against the state {report.expected}. Open one for its evidence."
    return _section(
        "Proofs",
        tag("p", told, class_="soft"),
        tag("div", (_evidence(each) for each in report.proofs), class_="pairs"),
        _history(report),
    )


def _evidence(proof: Proof) -> Markup:
    tests = (
        tag(
            "li",
            word(str(test.outcome)),
            f" {test.name}",
            tag("ul", (tag("li", line) for line in test.evidence)),
        )
        for test in proof.tests
    )
    failed = [test.name for test in proof.tests if not test.passed]
    summary = tag(
        "summary",
        tag("span", proof.title.removesuffix(" PROOF")),
        word(str(proof.verdict)),
        tag("span", f"{proof.passed}/{len(proof.tests)}"),
        tag("span", proof.error or "; ".join(failed)),
    )
    return tag("details", summary, tag("ol", tests))


def _history(report: Report) -> Content:
    """Each test over the period, by the timer's log: one strip a test."""
    if not report.runs:
        return tag("p", "The timer's log holds no run of this period.", class_="soft")
    names = sorted({(run.title, name) for run in report.runs for name in run.outcomes})
    strips = (_strip(report, title, name, number) for number, (title, name) in enumerate(names))
    failed = sum(run.verdict != "PASS" for run in report.runs)
    told = f"By the timer's log: {len(report.runs)} run(s), {failed} without PASS. Time runs right."
    picture = tag("div", strips, class_="pairs")
    return tag("h3", "Over the period"), tag("p", told, class_="soft"), picture


def _strip(report: Report, title: str, name: str, number: int) -> Markup:
    runs = [run for run in report.runs if run.title == title]
    cells = in_buckets(runs, name, report.since_epoch, report.now_epoch, _STRIP)
    failed = sum(run.outcomes.get(name) == "FAIL" for run in runs)
    ran = sum(name in run.outcomes for run in runs)
    told = f"{name}: {failed} of {ran} failed"
    boxes = (
        # a failure is taller too, so it is seen without its colour
        tag(
            "rect",
            x=index * 6,
            y=0 if cell == "FAIL" else 4,
            width=5,
            height=16 if cell == "FAIL" else 8 if cell else 2,
            class_=cell or "none",
        )
        for index, cell in enumerate(cells)
    )
    picture = tag(
        "svg",
        tag("title", told, id=f"strip{number}"),
        boxes,
        role="img",
        aria_labelledby=f"strip{number}",
        viewBox=f"0 0 {_STRIP * 6} 16",
    )
    return tag("div", tag("p", told), picture, class_="strip")


def positions(report: Report) -> Markup:
    closed = report.positions.closed
    newest = closed[: -_POSITIONS - 1 : -1]
    rows = (_position_row(each) for each in newest)
    heads = (
        "Closed",
        "Symbol",
        "Side",
        "Quantity",
        "Entry",
        "Exit",
        "Gain",
        "Held",
        "Reason",
        "By",
    )
    figures = (
        _figure(each, report, number) for number, each in enumerate(newest[:_CHARTS], start=1)
    )
    more = f"Charts of the last {_CHARTS} only." if len(closed) > _CHARTS else None
    many = len(closed) > _POSITIONS
    shown = f"The newest {_POSITIONS} of {len(closed)}" if many else "Newest first"
    still = report.positions.still_open
    return _section(
        "Closed positions",
        None if closed else tag("p", "None was closed in this period."),
        tag("p", f"Still open: {', '.join(still)}.") if still else None,
        table(shown, heads, rows, _NUMBERS, ("Reason",)) if closed else None,
        _legend() if closed else None,
        tag("p", more, class_="soft") if more else None,
        tag("div", figures, class_="charts"),
    )


def _position_row(each: Episode) -> tuple[Content, ...]:
    last = each.exits[-1]
    held = (
        UNKNOWN if each.opened_epoch is None else format_age(each.closed_epoch - each.opened_epoch)
    )
    return (
        at(each.closed_epoch),
        name(each.symbol),
        str(each.side),
        format_number(each.qty),
        price(each.entry_price),
        price(each.exit_price),
        gain(each.gain),
        held,
        last.reason or UNKNOWN,
        name(last.by),
    )


def _figure(each: Episode, report: Report, number: int) -> Markup:
    candles, why_none = candles_of(each, report.market.klines.get(each.symbol, ()))
    opened = "before the period" if each.opened_epoch is None else at(each.opened_epoch)
    return tag(
        "figure",
        tag("h3", f"{each.symbol} {each.side}, {gain(each.gain)}"),
        chart(each, candles, number),
        tag(
            "figcaption",
            tag("p", "Opened ", opened, f" at {price(each.entry_price)}"),
            (
                tag(
                    "p",
                    "Closed ",
                    format_number(fill.qty),
                    " ",
                    at(fill.at_epoch),
                    f" at {price(fill.price)}: ",
                    fill.reason or f"reason {UNKNOWN}",
                )
                for fill in each.exits
            ),
            tag("p", f"Prices {UNKNOWN}: {why_none}.", class_="soft") if why_none else None,
        ),
    )


def _legend() -> Markup:
    def key(name: str, *shapes: Markup) -> Markup:
        picture = tag("svg", shapes, viewBox="0 0 38 16", aria_hidden="true")
        return tag("span", picture, name)

    return tag(
        "p",
        key("entry", tag("path", d="M12 2L24 8L12 14Z", class_="entry")),
        key("exit", tag("path", d="M14 3L24 13M14 13L24 3", class_="exit")),
        key("stop on the exchange", tag("line", x1=0, x2=38, y1=8, y2=8, class_="resting")),
        key("price that was the reason", tag("line", x1=0, x2=38, y1=8, y2=8, class_="level")),
        key(
            "price fell, rose",
            tag("rect", x=8, y=2, width=8, height=12, class_="fall"),
            tag("rect", x=22, y=2, width=8, height=12, class_="rise"),
        ),
        class_="legend",
    )


def denials(report: Report) -> Markup:
    count = len(report.denials)
    drills = f" {report.drills} more were provoked by the proofs." if report.drills else ""
    if not count:
        return _section("Denials", tag("p", f"None.{drills}"))
    rows = (
        (
            at(row["at_epoch"]),
            name(row["symbol"]),
            row["what"],
            name(row["by"]),
            row["decision"],
            row["error"],
        )
        for row in report.denials[:_ROWS]
    )
    heads = ("At", "Symbol", "What", "By", "Decision", "Why")
    shown = f"The newest {_ROWS} of {count}" if count > _ROWS else "Newest first"
    return _section(
        "Denials",
        tag("p", f"{count} plan(s) were not executed.{drills}"),
        tag("h3", "By reason"),
        _bars(report.codes),
        tag("h3", "By source"),
        _bars(report.sources),
        table(shown, heads, rows, texts=("What", "Why")),
    )


def _bars(counts: Sequence[tuple[str, int]]) -> Markup:
    """Numbers with bars beside them; the bars tell nothing that the numbers do not."""
    most = max(count for _, count in counts)
    return tag(
        "div",
        (
            (
                tag("span", label or "(none)"),
                tag("i", style=f"width:{100 * count / most:.1f}%", aria_hidden="true"),
                tag("span", str(count)),
            )
            for label, count in counts[:20]
        ),
        class_="bars",
    )


def latencies(report: Report) -> Markup:
    names = tuple(name for name, _ in _QUANTILES)
    rows = (
        (
            each.name,
            str(len(each.sample_ms)),
            *(_ms(each.quantile(share)) for _, share in _QUANTILES),
        )
        for each in report.latencies
    )
    whole = next(each for each in report.latencies if each.name == latency.WHOLE)
    bounds = [f"to {bound} ms" for bound in latency.BOUNDS_MS] + ["longer"]
    bars = list(zip(bounds, whole.bars, strict=True))
    return _section(
        "Latencies",
        table("Milliseconds", ("Leg", "Number", *names), rows, ("Number", *names)),
        (tag("h3", "Exits, intent to result"), _bars(bars)) if any(whole.bars) else None,
    )


def _ms(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.0f}"


def alerts(report: Report) -> Markup:
    count = len(report.alerts)
    if not count:
        return _section("Alerts", tag("p", "None."))
    rows = (
        (at(row["at_epoch"]), row["severity"], row["type"], plain(row["details"], 240))
        for row in report.alerts[:_ROWS]
    )
    shown = f"The newest {_ROWS} of {count}" if count > _ROWS else "Newest first"
    return _section(
        "Alerts",
        table(shown, ("At", "Severity", "Type", "Details"), rows, texts=("Type", "Details")),
    )


def control(report: Report) -> Markup:
    """Who changed mode and switch."""
    if not report.control:
        return _section("Changes of mode and switch", tag("p", "None."))
    rows = (
        (_text(act, "at"), _text(act, "event"), _text(act, "by"), _text(act, "reason"))
        for act in report.control
    )
    heads = ("At", "Event", "By", "Reason")
    return _section(
        "Changes of mode and switch", table("Newest first", heads, rows, texts=("Event", "Reason"))
    )


def _text(act: Document, name: str) -> str:
    value: Any = act.get(name)
    return UNKNOWN if value is None else str(value)


def _section(title: str, *content: Content) -> Markup:
    return tag("section", tag("h2", title), content)
