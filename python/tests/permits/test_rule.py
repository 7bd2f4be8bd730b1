"""When a verdict is given, and when a newer observation is waited for."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from quantum_exit.binance.model import Position
from quantum_exit.bus.consumer import Entry
from quantum_exit.gates.model import Lane
from quantum_exit.permits.bookkeeper import Bookkeeper, HoldRecord, Page
from quantum_exit.permits.plans import (
    FRESH_S,
    PATIENCE_S,
    Ruling,
    Waiting,
    permit_of,
    read_plan,
    rule,
)
from quantum_exit.permits.watch import Account, Observation
from quantum_exit.sanity.books import Ledger
from quantum_exit.sanity.permit import Allowed, Refused
from quantum_exit.signing import Verifier

D = Decimal
EPOCH = 1_700_000_000.0
S = "BTCUSDT"


def waiting(since: float = 100.0, **changes: str) -> Waiting:
    fields = {
        "plan_id": "p",
        "decision": "EXECUTE",
        "symbol": S,
        "side": "SELL",
        "qty": "5",
        "source": "s",
        "timestamp": str(EPOCH),
    } | changes
    raw = {name.encode(): value.encode() for name, value in fields.items()}
    found = read_plan(Entry("plans", "1-1", raw), Lane.MAIN, "owner", Verifier({}), EPOCH, since)
    assert isinstance(found, Waiting), found
    return found


def observed(asked: float, amount: str = "3") -> Account:
    zero = D(0)
    position = Position(S, D(amount), zero, zero, zero, None, None, 0)
    positions: Mapping[str, Position] = {S: position} if position.amount else {}
    return Account(latest=Observation(asked, EPOCH, asked, positions, {}), unfit="")


def books(
    amount: str = "3", ledger: str = "3", hold: HoldRecord | None = None, *, in_flight: bool = False
) -> Bookkeeper:
    keeper = Bookkeeper()
    page = Page(Ledger(D(ledger), 0.0), D(0), hold, False, in_flight, order_unresolved=False)
    keeper.update({S: D(amount)}, {S: page}, observed_epoch=EPOCH, now_epoch=EPOCH)
    return keeper


def verdict(ruling: Ruling | None) -> Allowed | Refused | None:
    return None if ruling is None else ruling.verdict


def at(
    account: Account, keeper: Bookkeeper, now: float, **changes: str
) -> Allowed | Refused | None:
    return verdict(rule(waiting(**changes), account, keeper, EPOCH, now))


def test_a_young_observation_allows_at_once() -> None:
    assert at(observed(100 - FRESH_S), books(), 100.0) == Allowed(D(3))


def test_an_older_one_waits_for_the_next_until_patience_ends() -> None:
    old = observed(100 - FRESH_S - 0.01)
    assert at(old, books(), 100.0) is None
    assert at(old, books(), 100 + PATIENCE_S) == Allowed(D(3))
    assert at(observed(100.0), books(), 101.0) == Allowed(D(3))


def test_nothing_is_refused_on_an_observation_older_than_the_plan() -> None:
    assert at(observed(99.9, "0"), books("0", "0"), 100.0) is None
    assert at(observed(100.0, "0"), books("0", "0"), 100.1) == Refused("no_position")


def test_an_amount_that_may_lack_a_fill_waits() -> None:
    assert at(observed(99.9), books(in_flight=True), 100.0) is None
    assert at(observed(100.1), books(in_flight=True), 100.2) == Allowed(D(3))


def test_a_young_mismatch_may_explain_itself_until_patience_ends() -> None:
    keeper = books("3", "5")
    assert at(observed(100.1), keeper, 100.2) is None
    late = at(observed(100.1), keeper, 100 + PATIENCE_S)
    assert late == Refused("reconcile_required_qty_mismatch")


def test_a_hold_of_somebody_else_is_answered_at_once() -> None:
    keeper = books(hold=HoldRecord(ours=False))
    assert at(observed(99.9), keeper, 100.0) == Refused("reconcile_hold_active")


def test_never_observed_and_unfit_fail_closed_in_the_end() -> None:
    unread = Account(unfit="")
    assert at(unread, Bookkeeper(), 100.0) is None
    assert at(unread, Bookkeeper(), 100 + PATIENCE_S) == Refused("stale_exchange_state")
    unfit = Account(latest=observed(100.0).latest, unfit="hedge_mode: explained")
    assert at(unfit, books(), 100.1) is None
    assert at(unfit, books(), 100 + PATIENCE_S) == Refused("hedge_mode")


def test_a_stale_observation_is_refused_in_the_end() -> None:
    assert at(observed(85.0), books(), 100.0) is None
    stale = at(observed(85.0), books(), 100 + PATIENCE_S)
    assert stale == Refused("stale_exchange_state")


def test_the_permit_names_the_plan_it_is_for() -> None:
    one = waiting()
    ruling = rule(one, observed(100.0), books(), EPOCH, 100.0)
    assert ruling is not None
    permit = permit_of(one, ruling, "g", EPOCH)
    assert permit.body["allow"] is True
    assert (permit.body["symbol"], permit.body["safe_qty"]) == (S, "3")
    assert (permit.body["source"], permit.body["entry_id"]) == ("s", "1-1")
    assert permit.body["created_at"] == EPOCH


def test_what_needs_no_permit() -> None:
    def read(**changes: str) -> Waiting | str:
        base = {name.decode(): value.decode() for name, value in waiting().entry.fields.items()}
        raw = {name.encode(): value.encode() for name, value in (base | changes).items()}
        entry = Entry("plans", "1-1", raw)
        return read_plan(entry, Lane.MAIN, "owner", Verifier({}), EPOCH, 100.0)

    assert read(decision="BLOCKED") == "skipped_not_execute"
    assert read(qty="-1") == "skipped_malformed"
    assert read(timestamp=str(EPOCH - 601)) == "skipped_too_old"
    assert isinstance(read(timestamp=str(EPOCH - 59)), Waiting)
