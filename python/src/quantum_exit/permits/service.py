"""P3.3's loop: write what the watch saw, keep the books, rule on the plans that wait."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from redis.exceptions import RedisError

from quantum_exit import keys
from quantum_exit.alerts.publish import AlertType, Severity, publish_alert
from quantum_exit.bus.connection import connect
from quantum_exit.bus.consumer import Entry, GroupReader
from quantum_exit.bus.heartbeat import Heartbeat
from quantum_exit.gates.model import Lane
from quantum_exit.permits.bookkeeper import (
    Action,
    Bookkeeper,
    PlaceHold,
    Reconcile,
    ReleaseHold,
    StopFired,
)
from quantum_exit.permits.config import PermitsConfig
from quantum_exit.permits.plans import Waiting, permit_of, read_plan, rule
from quantum_exit.permits.roster import Roster
from quantum_exit.permits.stops import PlacedStops
from quantum_exit.permits.store import Permit, Store
from quantum_exit.permits.watch import Account, Observation, Watch
from quantum_exit.sanity.snapshot import STALE_AFTER_S
from quantum_exit.systemd import Notifier
from quantum_exit.values import format_number

log = logging.getLogger("quantum_exit.permits")

SERVICE: Final = "position_state"
BATCH: Final = 500
BLOCK_MS: Final = 100
WAIT_FOR_READING_S: Final = 0.05
BEAT_EVERY_S: Final = 0.5
RETRY_EVERY_S: Final = 0.5


class PermitsService:
    def __init__(
        self,
        config: PermitsConfig,
        watch: Watch,
        notifier: Notifier,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._watch = watch
        self._notifier = notifier
        self._wall = wall
        self._monotonic = monotonic
        self._redis = connect(config.redis_url, block_s=BLOCK_MS / 1000, name=SERVICE)
        self._store = Store(self._redis)
        self._stops = PlacedStops(self._redis)
        self._reader = GroupReader(
            self._redis,
            streams=[keys.APPLY_PLAN, config.manual_stream],
            group=keys.GROUP_PERMITS,
            consumer=SERVICE,
        )
        self._heartbeat = Heartbeat(self._redis, SERVICE, wall())
        self._books = Bookkeeper()
        self._roster = Roster()
        self._roster_loaded = False
        self._waiting: list[Waiting] = []
        self._recorded: Observation | None = None
        self._next_beat = 0.0
        self._said_rejected = False
        self._holds: set[str] = set()

    def run(self, stopping: Callable[[], bool]) -> None:
        """Until `stopping()`. Survives any failure of Redis and of the exchange."""
        self._notifier.ready()
        while not stopping():
            if not self._watch.is_alive():
                raise RuntimeError("the watch on the account has died")
            self._notifier.watchdog()
            try:
                self._step()
            except (RedisError, OSError) as error:
                self._notifier.status(f"not ready: Redis: {error}")
                log.error("Redis: %s; plans wait in their streams", error)
                self._waiting.clear()  # they are pending, and come again
                self._reader.reset()
                self._stops.reset()
                self._recorded = None
                self._next_beat = 0.0
                time.sleep(RETRY_EVERY_S)
        self._notifier.stopping()

    def _step(self) -> None:
        self._beat_if_due()
        if not self._roster_loaded:
            self._roster.track(self._store.known_symbols(), self._monotonic())
            self._roster_loaded = True
        self._roster.track(self._store.look_for_reconciling(), self._monotonic())
        if self._waiting:
            self._watch.request(by_owner=any(one.by_owner for one in self._waiting))
            self._watch.wait_for_newer(self._recorded, WAIT_FOR_READING_S)
        self._take(self._reader.read(count=BATCH, block_ms=0 if self._waiting else BLOCK_MS))
        if self._stops.follow():
            self._watch.request(by_owner=False)
        account = self._watch.account
        self._record(account)
        self._explain_by_stops()
        self._rule(account)

    def _take(self, entries: list[Entry]) -> None:
        """New plans join those that wait; the rest is acknowledged."""
        no_permit: dict[str, list[Entry]] = {}
        for entry in entries:
            lane = Lane.MAIN if entry.stream == keys.APPLY_PLAN else Lane.MANUAL
            config = self._config
            found = read_plan(
                entry, lane, config.owner, config.verifier, self._wall(), self._monotonic()
            )
            if isinstance(found, Waiting):
                self._waiting.append(found)
            else:
                no_permit.setdefault(found, []).append(entry)
        for counted_as, skipped in no_permit.items():
            self._store.acknowledge(skipped, keys.GROUP_PERMITS, counted_as)

    def _record(self, account: Account) -> None:
        """A new observation goes into Redis first and is compared with the books after."""
        asked_about = {one.claim.plan.symbol for one in self._waiting}
        now_mono = self._monotonic()
        self._roster.track(asked_about, now_mono)
        seen = account.latest
        if seen is None:
            return
        if seen is not self._recorded:
            self._roster.track(seen.positions, now_mono)
            self._roster.track(seen.unreadable, now_mono)
            self._roster.track(self._holds, now_mono)
            dropped = self._roster.drop_idle(now_mono)
            self._store.drop_snapshots(dropped)
            self._books.forget(dropped)
            flat = self._roster.symbols - seen.positions.keys() - seen.unreadable
            self._store.write_snapshots(seen, flat)
            self._compare(seen, self._roster.symbols - seen.unreadable)
            self._recorded = seen
            self._ask_for_stops()
        elif asked_about:
            self._compare(seen, asked_about - seen.unreadable)

    def _compare(self, seen: Observation, symbols: set[str]) -> None:
        pages = self._store.read_pages(sorted(symbols))
        amounts = {symbol: position.amount for symbol, position in seen.positions.items()}
        now = self._wall()
        actions = self._books.update(amounts, pages, observed_epoch=seen.asked_epoch, now_epoch=now)
        self._store.apply(actions, now)
        held = {symbol for symbol, page in pages.items() if page.hold is not None}
        self._holds = (self._holds - pages.keys()) | held
        for action in actions:
            self._say(action, amounts.get(action.symbol, Decimal(0)), now)

    def _ask_for_stops(self) -> None:
        """Before a position that shrank without a plan of ours is called unexplained."""
        for symbol in self._books.shrunk():
            if ids := self._stops.of(symbol):
                self._watch.ask_for_stops(symbol, ids)

    def _explain_by_stops(self) -> None:
        now = self._wall()
        for symbol, fired in self._watch.take_fired().items():
            actions = self._books.explain(symbol, fired)
            self._store.apply(actions, now)
            for action in actions:
                self._say(action, Decimal(0), now)

    def _say(self, action: Action, amount: Decimal, now_epoch: float) -> None:
        if isinstance(action, PlaceHold):
            self._holds.add(action.symbol)
            mismatch = action.mismatch
            details: dict[str, object] = {
                "symbol": action.symbol,
                "reason": mismatch.kind.value,
                "exchange_amt": format_number(mismatch.exchange),
                "books_amt": (
                    "unreadable" if mismatch.books is None else format_number(mismatch.books)
                ),
                "mend": f"look at the account, then: exitctl reconcile {action.symbol}",
            }
            log.error("RECONCILE_HOLD %s", details)
            publish_alert(
                self._redis, AlertType.RECONCILE_HOLD, Severity.CRITICAL, details, now_epoch
            )
        elif isinstance(action, ReleaseHold):
            self._holds.discard(action.symbol)
            log.info("%s: exchange and books agree again (%s), hold ended", action.symbol, amount)
        elif isinstance(action, Reconcile):
            self._holds.discard(action.symbol)
            log.info("%s: reconciled at %s on request", action.symbol, amount)
        elif isinstance(action, StopFired):
            self._stops.forget(action.client_ids)
            log.warning("%s: our stop on the exchange fired", action.symbol)
        else:
            log.info(
                "%s: %s on the exchange that is not of our fills, adopted",
                *(action.symbol, format_number(action.baseline)),
            )

    def _rule(self, account: Account) -> None:
        now_epoch, now_mono = self._wall(), self._monotonic()
        still: list[Waiting] = []
        permits: list[Permit] = []
        # The owner's first: however many others are at the door, exits do not queue behind them.
        for one in sorted(self._waiting, key=lambda one: not one.by_owner):
            ruling = rule(one, account, self._books, now_epoch, now_mono)
            if ruling is None:
                still.append(one)
            else:
                permits.append(permit_of(one, ruling, keys.GROUP_PERMITS, now_epoch))
        self._waiting = still
        self._store.write_permits(permits)
        for permit in permits:
            log.info(
                "%s %s %s safe_qty=%s %s",
                *("ALLOW" if permit.body["allow"] else "DENY", permit.plan_id),
                *(permit.body["symbol"], permit.body["safe_qty"], permit.body["reason"]),
            )

    def _beat_if_due(self) -> None:
        now_mono = self._monotonic()
        if now_mono < self._next_beat:
            return
        self._next_beat = now_mono + BEAT_EVERY_S
        account = self._watch.account
        problem = _problem(account, now_mono)
        status = f"not ready: {problem}" if problem else "ready"
        unreadable = ",".join(sorted(account.latest.unreadable)) if account.latest else ""
        if unreadable and not problem:
            status += f"; degraded: cannot be read: {unreadable}"
        extra = {
            "snapshot_age_s": _age(account, now_mono),
            "positions": str(len(account.latest.positions)) if account.latest else "unknown",
            "unreadable": unreadable,
            "holds": ",".join(sorted(self._holds)),
            "clock_offset_ms": f"{account.clock_offset_ms:.0f}",
        }
        self._heartbeat.beat(self._wall(), ready=not problem, status=status, extra=extra)
        self._notifier.status(status)
        self._say_rejected(account)

    def _say_rejected(self, account: Account) -> None:
        """Once an episode."""
        if account.credentials_rejected and not self._said_rejected:
            details = {"service": SERVICE, "answer": account.trouble}
            publish_alert(
                self._redis,
                AlertType.CREDENTIALS_REJECTED,
                Severity.CRITICAL,
                details,
                self._wall(),
            )
        self._said_rejected = account.credentials_rejected


def _problem(account: Account, now_mono: float) -> str:
    """Why we are not ready; empty when we are."""
    if account.trouble:
        return f"exchange: {account.trouble}"
    if account.unfit:
        return account.unfit
    if account.latest is None:
        return "the exchange has not been read yet"
    age_s = now_mono - account.latest.asked_mono
    return f"positions are {age_s:.0f} s old" if age_s > STALE_AFTER_S else ""


def _age(account: Account, now_mono: float) -> str:
    return "unknown" if account.latest is None else f"{now_mono - account.latest.asked_mono:.3f}"
