"""P3.3's side of Redis: what it reads of a symbol, and the steps in which it writes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import files
from typing import Any, Final

from redis.exceptions import NoPermissionError, ResponseError

from quantum_exit import keys
from quantum_exit.bus.connection import RedisClient
from quantum_exit.bus.consumer import Entry
from quantum_exit.bus.refusals import is_wrong_type
from quantum_exit.permits.bookkeeper import (
    Action,
    HoldRecord,
    Page,
    PlaceHold,
    Reconcile,
    ReleaseHold,
    StopFired,
)
from quantum_exit.permits.stops import STOPS_KEY
from quantum_exit.permits.watch import Observation
from quantum_exit.sanity.books import Ledger, LedgerView, NoLedger
from quantum_exit.sanity.snapshot import snapshot_fields
from quantum_exit.values import (
    InvalidNumberError,
    Unknown,
    format_epoch,
    format_number,
    parse_amount,
    parse_number,
)

log = logging.getLogger("quantum_exit.permits")

METRICS: Final = "quantum:permits:metrics"
PERMIT_TTL_S: Final = 60
MAKER: Final = "p33"
"""Marks the holds that are ours to end."""
_ZERO: Final = Decimal(0)
_SCAN_COUNT: Final = 1000


@dataclass(frozen=True, slots=True)
class Permit:
    """A verdict on one entry of a plan stream."""

    entry: Entry
    group: str
    plan_id: str
    body: Mapping[str, object]
    counted_as: str


class Store:
    """Belongs to one thread. Raises redis.RedisError."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis: Any = redis
        self._script = redis.register_script(
            (files("quantum_exit.permits") / "permit.lua").read_text()
        )
        self._said_no_permission = False
        self._may_scan = True
        self._scan_from: Any = 0

    # Reading

    def known_symbols(self) -> set[str]:
        """Every symbol that Redis holds a snapshot, a ledger, a hold or a request of."""
        found: set[str] = set()
        prefixes = [keys.snapshot(""), keys.ledger(""), keys.reconcile_hold("")]
        prefixes += [keys.reconcile_request(""), keys.position_baseline("")]
        try:
            for pattern in (
                "quantum:position:*",
                "quantum:reconcile:*",
                keys.position_baseline("*"),
            ):
                for raw in self._redis.scan_iter(match=pattern, count=_SCAN_COUNT):
                    name = raw.decode(errors="replace")
                    found |= {name[len(p) :] for p in prefixes if name.startswith(p)}
        except NoPermissionError:
            return set()
        return {symbol for symbol in found if symbol}

    def look_for_reconciling(self) -> set[str]:
        """A step of an endless walk through the names in Redis: symbols with a hold or a
        request, so that one in a symbol nobody else asks about is seen within seconds."""
        if not self._may_scan:
            return set()
        try:
            self._scan_from, names = self._redis.scan(
                self._scan_from, match="quantum:reconcile:*", count=_SCAN_COUNT
            )
        except NoPermissionError:
            self._may_scan = False
            return set()
        prefixes = (keys.reconcile_hold(""), keys.reconcile_request(""))
        texts = [raw.decode(errors="replace") for raw in names]
        return {text[len(p) :] for p in prefixes for text in texts if text.startswith(p)} - {""}

    def read_pages(self, symbols: Sequence[str]) -> dict[str, Page]:
        """One round trip."""
        pipe: Any = self._redis.pipeline(transaction=False)
        pipe.hvals(keys.EXECUTOR_OPEN)
        for symbol in symbols:
            pipe.hgetall(keys.ledger(symbol))
            pipe.hget(keys.position_baseline(symbol), "amount")
            pipe.hgetall(keys.reconcile_hold(symbol))
            pipe.exists(keys.reconcile_request(symbol))
        answers: list[Any] = pipe.execute(raise_on_error=False)
        self._check(answers)
        in_flight, unresolved = _open_orders(answers[0])
        pages = {}
        for at, symbol in enumerate(symbols):
            ledger, baseline, hold, requested = answers[1 + 4 * at : 5 + 4 * at]
            pages[symbol] = Page(
                ledger=_ledger(ledger),
                baseline=_baseline(baseline),
                hold=_hold(hold),
                reconcile_requested=requested == 1,
                order_in_flight=symbol in in_flight,
                order_unresolved=symbol in unresolved,
            )
        return pages

    def _check(self, answers: list[Any]) -> None:
        """A key of another type reads as malformed. Without the right to read the open orders
        we go on: the grace that a mismatch has then covers what is in flight."""
        if isinstance(answers[0], NoPermissionError):
            if not self._said_no_permission:
                log.error("no permission to read %s: %s", keys.EXECUTOR_OPEN, answers[0])
            self._said_no_permission = True
            answers[0] = []
        for answer in answers:
            if isinstance(answer, Exception) and not is_wrong_type(answer):
                raise answer

    # Writing

    def write_snapshots(self, seen: Observation, flat: Iterable[str]) -> None:
        """All positions and the state of the whole account, in one step. What could not be read
        keeps its older row, and without one is named in the state: unknown, not flat."""
        rows: dict[str, Mapping[str, str]] = {}
        for symbol, position in seen.positions.items():
            fields = snapshot_fields(
                amount=position.amount,
                entry_price=position.entry_price,
                mark_price=position.mark_price,
                leverage=seen.leverage.get(symbol),
                unrealized_pnl=position.unrealized_pnl,
                ts_epoch=seen.asked_epoch,
            )
            rows[keys.snapshot(symbol)] = fields
        for symbol in flat:
            rows[keys.snapshot(symbol)] = _flat_fields(seen, symbol)
        rows[keys.SNAPSHOT_STATE] = {
            "ts_epoch": format_epoch(seen.asked_epoch),
            "symbols": json.dumps(
                sorted({*seen.positions, *seen.unreadable}), separators=(",", ":")
            ),
        }

        def put(pipe: Any) -> None:
            for name, fields in rows.items():
                pipe.hset(name, mapping=fields)

        self._take_step(put, rows)

    def drop_snapshots(self, symbols: Iterable[str]) -> None:
        """Of flat symbols nobody asks about: an old row would look like a lost observation."""
        names = [keys.snapshot(symbol) for symbol in symbols]
        if names:
            self._redis.delete(*names)

    def write_permits(self, permits: Sequence[Permit]) -> None:
        """Each is atomic; together they are one round trip."""
        if not permits:
            return
        self._redis.script_load(self._script.script)
        pipe: Any = self._redis.pipeline(transaction=False)
        for one in permits:
            pipe.evalsha(
                self._script.sha,
                3,
                *(keys.permit(one.plan_id), one.entry.stream, METRICS),
                *(one.group, one.entry.entry_id),
                json.dumps(one.body, separators=(",", ":"), ensure_ascii=False),
                *(PERMIT_TTL_S, keys.PERMIT_READY_CHANNEL, one.plan_id, one.counted_as),
            )
        pipe.execute()

    def acknowledge(self, entries: Sequence[Entry], group: str, counted_as: str) -> None:
        """Entries that need no permit."""
        if not entries:
            return
        pipe: Any = self._redis.pipeline(transaction=False)
        for entry in entries:
            pipe.xack(entry.stream, group, entry.entry_id)
        pipe.execute()
        with suppress(ResponseError):  # a count that is no number stops nothing
            self._redis.hincrby(METRICS, counted_as, len(entries))

    def apply(self, actions: Sequence[Action], now_epoch: float) -> None:
        if not actions:
            return

        def put(pipe: Any) -> None:
            for action in actions:
                _queue(pipe, action, now_epoch)

        baselines = [keys.position_baseline(action.symbol) for action in actions]
        self._take_step(put, [*baselines, STOPS_KEY, METRICS])

    def _take_step(self, put: Callable[[Any], None], hashes: Iterable[str]) -> None:
        """One transaction. What lies under another type in the place of one of these hashes,
        which are ours, gives way: it would stop the permits of every symbol."""
        refused = self._transact(put)
        if not any(map(is_wrong_type, refused)):
            _raise_first(refused)
            return
        for name in hashes:
            if self._redis.type(name) not in (b"hash", b"none"):
                log.error("%s was no hash; it is written anew", name)
                self._redis.delete(name)
        _raise_first(self._transact(put))

    def _transact(self, put: Callable[[Any], None]) -> list[Exception]:
        """Those of its commands that Redis refused; the others are done."""
        pipe: Any = self._redis.pipeline(transaction=True)
        put(pipe)
        answers = pipe.execute(raise_on_error=False)
        return [answer for answer in answers if isinstance(answer, Exception)]


def _raise_first(refused: Sequence[Exception]) -> None:
    for error in refused:
        raise error


_WHY: Final = {Reconcile: "reconciled", StopFired: "stop_fired"}


def _queue(pipe: Any, action: Action, now_epoch: float) -> None:
    symbol = action.symbol
    hold = keys.reconcile_hold(symbol)
    if isinstance(action, PlaceHold):
        mismatch = action.mismatch
        fields = {
            "by": MAKER,
            "reason": mismatch.kind.value,
            "exchange_amt": format_number(mismatch.exchange),
            "books_amt": "" if mismatch.books is None else format_number(mismatch.books),
            "since_epoch": format_epoch(now_epoch),
        }
        pipe.hset(hold, mapping=fields)
        pipe.hincrby(METRICS, "holds_placed", 1)
        return
    if isinstance(action, ReleaseHold):
        pipe.delete(hold)
        pipe.hincrby(METRICS, "holds_released", 1)
        return
    fields = {"amount": format_number(action.baseline), "at_epoch": format_epoch(now_epoch)}
    fields["why"] = _WHY.get(type(action), "adopted")
    pipe.hset(keys.position_baseline(symbol), mapping=fields)
    if isinstance(action, StopFired):
        pipe.hdel(STOPS_KEY, *action.client_ids)
    if isinstance(action, Reconcile):
        pipe.delete(hold, keys.reconcile_request(symbol))
        pipe.hincrby(METRICS, "reconciled", 1)


def _flat_fields(seen: Observation, symbol: str) -> dict[str, str]:
    return snapshot_fields(
        amount=_ZERO,
        entry_price=_ZERO,
        mark_price=_ZERO,
        leverage=seen.leverage.get(symbol),
        unrealized_pnl=_ZERO,
        ts_epoch=seen.asked_epoch,
    )


def _open_orders(values: Any) -> tuple[set[str], set[str]]:
    """Symbols with an order that may fill, and those where nobody knows whether it did."""
    in_flight: set[str] = set()
    unresolved: set[str] = set()
    for value in values if isinstance(values, list) else []:
        try:
            grant = json.loads(value)
        except (ValueError, RecursionError):
            continue
        if not isinstance(grant, dict) or grant.get("type", "MARKET") != "MARKET":
            continue  # a resting stop moves no position while it is placed or cancelled
        symbol = str(grant.get("symbol", ""))
        in_flight.add(symbol)
        if grant.get("state") == "unknown":
            unresolved.add(symbol)
    return in_flight, unresolved


def _ledger(raw: Any) -> LedgerView:
    if raw == {}:
        return NoLedger()
    try:
        amount = parse_amount(raw[b"position_amt"].decode())
    except (InvalidNumberError, UnicodeDecodeError, KeyError, TypeError):
        return Unknown("unreadable ledger")
    try:
        updated = float(parse_number(raw.get(b"updated_at", b"0").decode()))
    except (InvalidNumberError, UnicodeDecodeError):
        updated = 0.0
    return Ledger(amount, updated, abs(_amount(raw.get(b"last_filled_qty")) or _ZERO))


def _baseline(raw: Any) -> Decimal:
    return _amount(raw) or _ZERO


def _hold(raw: Any) -> HoldRecord | None:
    if raw == {}:
        return None
    if not isinstance(raw, dict) or raw.get(b"by") != MAKER.encode():
        return HoldRecord(ours=False)
    since = _amount(raw.get(b"since_epoch"))
    return HoldRecord(
        ours=True,
        exchange=_amount(raw.get(b"exchange_amt")),
        books=_amount(raw.get(b"books_amt")),
        since_epoch=float(since or 0),
    )


def _amount(raw: Any) -> Decimal | None:
    try:
        return parse_amount(raw.decode())
    except (InvalidNumberError, UnicodeDecodeError, AttributeError):
        return None
