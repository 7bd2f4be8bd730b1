"""The report as one HTML page that needs nothing else: no script, no font, no picture. Pure."""

from __future__ import annotations

from decimal import Decimal
from importlib import resources
from typing import Final

from quantum_exit.exitctl.report import latency, sections
from quantum_exit.exitctl.report.collect import Report
from quantum_exit.exitctl.report.markup import Markup, tag
from quantum_exit.exitctl.report.parts import UNKNOWN, full_utc, gain, word
from quantum_exit.exitctl.ttl import format_age
from quantum_exit.proofs.model import overall

# Escaping is what keeps the texts of others from acting; this is the second wall.
_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)


def render(report: Report) -> str:
    title = f"Exit report of {report.host}"
    head = (
        '<meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
    )
    body = tag(
        "body",
        tag("header", tag("h1", title), tag("p", _period(report), class_="soft"), _tiles(report)),
        tag(
            "main",
            sections.unknown(report),
            sections.proofs(report),
            sections.positions(report),
            sections.denials(report),
            sections.latencies(report),
            sections.alerts(report),
            sections.control(report),
        ),
        tag("footer", tag("p", _sources(report))),
    )
    style = resources.files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}{tag("title", title)}'
        f"<style>\n{style}</style></head>\n{body}</html>\n"
    )


def _period(report: Report) -> str:
    lasts = format_age(report.now_epoch - report.since_epoch)
    return f"{full_utc(report.since_epoch)} to {full_utc(report.now_epoch)}: {lasts}"


def _tiles(report: Report) -> Markup:
    state = report.status
    closed = report.positions.closed
    gains = [each.gain for each in closed if each.gain is not None]
    total = gain(sum(gains, Decimal(0))) if len(gains) == len(closed) else UNKNOWN
    tiles = (
        ("Mode now", word(state["mode"]["state"])),
        ("Kill switch now", word("ON" if state["kill_switch"]["on"] else "off")),
        ("Proofs", word(str(overall(report.proofs)))),
        ("Positions closed", str(len(closed))),
        ("Gain before fees", total if closed else "0"),
        ("Plans denied", str(len(report.denials))),
        ("Exit, median", _median(report)),
        ("Alerts", str(len(report.alerts))),
    )
    return tag(
        "dl",
        (tag("div", tag("dt", name), tag("dd", value)) for name, value in tiles),
        class_="tiles",
    )


def _median(report: Report) -> str:
    """From the intent to its result."""
    whole = next(each for each in report.latencies if each.name == latency.WHOLE)
    median = whole.quantile(0.5)
    return UNKNOWN if median is None else f"{median:.0f} ms"


def _sources(report: Report) -> str:
    return (
        f"Made on {report.host} at {full_utc(report.now_epoch)} by exitctl report. Decisions, "
        "plans, results, alerts: the host's Redis. Prices, positions and trades: the exchange, "
        "asked when the report was made. Times are UTC; latencies by the clock of Redis."
    )
