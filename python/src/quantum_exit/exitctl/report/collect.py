"""Everything a report is made of, read once."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import redis

from quantum_exit import keys
from quantum_exit.exitctl import activity, proof, status
from quantum_exit.exitctl.context import Context
from quantum_exit.exitctl.report import episodes, fills, latency, market, proof_log, streams
from quantum_exit.exitctl.ttl import format_age
from quantum_exit.proofs import text
from quantum_exit.proofs.model import Proof
from quantum_exit.proofs.observe import load_json

_LOG_TAIL: Final = 2_000_000
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Report:
    """Rows are newest first. `unknown`: what could not be found out, in sentences."""

    host: str
    since_epoch: float
    now_epoch: float
    status: Document
    expected: str
    """What the proofs were run against."""
    proofs: tuple[Proof, ...]
    runs: tuple[proof_log.Run, ...]
    """Of the proof's timer, within the period, oldest first."""
    positions: episodes.Sorted
    market: market.Market
    denials: tuple[Document, ...]
    drills: int
    """Denials that the proofs provoked, which are not among `denials`."""
    codes: tuple[tuple[str, int], ...]
    """Denials by the beginning of their error, the most frequent first."""
    sources: tuple[tuple[str, int], ...]
    latencies: tuple[latency.Latency, ...]
    alerts: tuple[Document, ...]
    control: tuple[Document, ...]
    unknown: tuple[str, ...]


def collect(context: Context, since_s: int, expect: str | None) -> Report:
    """`expect` None: the proofs are run against the mode that is seen. Raises CommandError or
    redis.RedisError."""
    client = context.redis()
    now = time.time()
    since = now - since_s
    state = status.collect(client, context.environ)
    seen = streams.read(client, since)
    own = fills.from_results(seen.results, seen.intents, seen.plans)
    symbols = sorted({fill.symbol for fill in own} | {row["symbol"] for row in _held(state)})
    told = market.read(context.environ, symbols, since, now)
    placed = fills.with_trades(own, told.trades)
    denied = activity.denials(list(reversed(seen.results)))
    denials = [row for row in denied if row["plan_id"] not in seen.drills]
    expected = expect or _observed(state)
    amounts = None if told.amounts is None else dict(told.amounts)
    positions = episodes.sort_out(placed, amounts, seen.intents)
    return Report(
        host=socket.gethostname(),
        since_epoch=since,
        now_epoch=now,
        status=state,
        expected=expected,
        proofs=tuple(proof.run_all(context, expected)),
        runs=_runs(since),
        positions=positions,
        market=told,
        denials=tuple(denials),
        drills=len(denied) - len(denials),
        codes=_most(row["error"].partition(":")[0] or row["decision"] for row in denials),
        sources=_most(row["by"] or "unreadable" for row in denials),
        latencies=tuple(latency.latencies(seen.intents, seen.plans, seen.results)),
        alerts=tuple(activity.alert_row(entry) for entry in reversed(seen.alerts)),
        control=_control(client, since),
        unknown=_unknown(seen, told, positions, since),
    )


def _held(state: Document) -> Sequence[Document]:
    rows: Sequence[Document] = state["positions"]["rows"]
    return rows


def _observed(state: Document) -> str:
    """A host that is not known to be LIVE or KILLED is expected to be in SHADOW, so that a
    proof of one that does not answer fails."""
    if state["kill_switch"]["on"]:
        return "killed"
    return "live" if state["mode"]["state"] == "LIVE" else "shadow"


def _most(names: Any) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))


def _runs(since_epoch: float) -> tuple[proof_log.Run, ...]:
    try:
        with Path(status.PROOF_LOG).open("rb") as log:
            log.seek(max(log.seek(0, 2) - _LOG_TAIL, 0))
            tail = log.read().decode(errors="replace")
    except OSError:
        return ()
    return tuple(run for run in proof_log.parse(tail) if run.at_epoch >= since_epoch)


def _control(client: redis.Redis, since_epoch: float) -> tuple[Document, ...]:
    entries: Any = client.lrange(keys.EXITBRAIN_CONTROL, 0, -1)
    acts = (load_json(entry) for entry in entries)
    return tuple(act for act in acts if isinstance(act, dict) and _epoch(act) >= since_epoch)


def _epoch(act: Document) -> float:
    try:
        return float(act.get("epoch", "nan"))
    except (TypeError, ValueError):
        return float("nan")


def _unknown(
    seen: streams.Streams, told: market.Market, positions: episodes.Sorted, since: float
) -> tuple[str, ...]:
    found = list(told.why)
    found += [
        f"{symbol}: its positions cannot be told apart, the amount of now is not known"
        for symbol in positions.unclear
    ]
    for name, begins in seen.cut.items():
        missing = format_age(begins - since)
        found.append(f"{name}: only its newest entries were read, the first {missing} are missing")
    return tuple(found)


def as_json(report: Report) -> Mapping[str, object]:
    return {
        "host": report.host,
        "since_epoch": report.since_epoch,
        "at_epoch": report.now_epoch,
        "status": report.status,
        "expected": report.expected,
        "proofs": [text.document(each) for each in report.proofs],
        "closed": [episodes.as_json(each) for each in report.positions.closed],
        "still_open": report.positions.still_open,
        "denials": report.denials,
        "denials_of_proofs": report.drills,
        "denials_by_code": dict(report.codes),
        "denials_by_source": dict(report.sources),
        "latencies_ms": {
            each.name: {
                "count": len(each.sample_ms),
                **{f"p{round(share * 100)}": each.quantile(share) for share in (0.5, 0.95, 1)},
            }
            for each in report.latencies
        },
        "alerts": report.alerts,
        "control": report.control,
        "unknown": report.unknown,
    }
