"""What the bookkeeper writes, over time."""

from __future__ import annotations

from decimal import Decimal

from quantum_exit.permits.bookkeeper import (
    GRACE_S,
    Action,
    Bookkeeper,
    FiredStop,
    HoldRecord,
    Page,
    PlaceHold,
    Reconcile,
    ReleaseHold,
    SetBaseline,
    StopFired,
)
from quantum_exit.sanity.books import Ledger, LedgerView, Mismatch, MismatchKind, NoLedger
from quantum_exit.values import Unknown

D = Decimal
NOW = 1_700_000_000.0
S = "BTCUSDT"


class Books:
    """A bookkeeper that is shown one symbol at given moments."""

    def __init__(self) -> None:
        self.keeper = Bookkeeper()

    def see(
        self,
        amount: str,
        ledger: LedgerView | str,
        *,
        at: float = 0.0,
        baseline: str = "0",
        hold: HoldRecord | None = None,
        requested: bool = False,
        in_flight: bool = False,
    ) -> list[Action]:
        view = Ledger(D(ledger), 0.0) if isinstance(ledger, str) else ledger
        page = Page(view, D(baseline), hold, requested, in_flight, order_unresolved=False)
        return self.keeper.update(
            {S: D(amount)}, {S: page}, observed_epoch=NOW + at, now_epoch=NOW + at
        )


def test_what_others_opened_is_adopted_once() -> None:
    books = Books()
    assert books.see("3", NoLedger()) == [SetBaseline(S, D(3))]
    assert books.see("3", NoLedger(), baseline="3") == []


def test_soon_after_a_fill_an_amount_must_last_before_it_is_adopted() -> None:
    books = Books()
    filled = Ledger(D(0), NOW, last_fill=D(1))
    assert books.see("0", filled) == []
    assert books.see("3", filled, at=1) == []
    assert books.keeper.settling(S, NOW + 1), "no plan is permitted meanwhile"
    assert books.see("0", filled, at=2) == []
    assert not books.keeper.settling(S, NOW + 2)
    assert books.see("3", filled, at=3) == []
    assert books.see("3", filled, at=3 + GRACE_S) == [SetBaseline(S, D(3))]
    assert not books.keeper.settling(S, NOW + 3 + GRACE_S)


def test_long_after_a_fill_an_amount_is_adopted_at_once() -> None:
    assert Books().see("3", Ledger(D(0), NOW - 11)) == [SetBaseline(S, D(3))]


def test_nothing_is_adopted_while_an_order_of_ours_is_on_its_way() -> None:
    assert Books().see("3", NoLedger(), in_flight=True) == []


def test_a_mismatch_holds_after_the_grace_and_once() -> None:
    books = Books()
    assert books.see("3", "5") == []
    assert books.keeper.settling(S, NOW + 1)
    (action,) = books.see("3", "5", at=GRACE_S)
    assert action == PlaceHold(S, Mismatch(MismatchKind.QTY, D(3), D(5)))
    assert not books.keeper.settling(S, NOW + GRACE_S)
    hold = HoldRecord(ours=True, exchange=D(3), books=D(5), since_epoch=NOW)
    assert books.see("3", "5", at=5, hold=hold) == []


def test_the_exchange_may_lack_our_last_fill_for_a_while() -> None:
    books = Books()
    closed = Ledger(D(0), NOW, last_fill=D(3))
    for at in (0, 3, 9):
        assert books.see("3", closed, at=at) == []
    assert books.see("0", closed, at=9.5) == []
    assert books.see("3", closed, at=11) == [SetBaseline(S, D(3))]


def test_stops_that_fired_explain_what_is_missing() -> None:
    books = Books()
    books.see("1", "3")
    assert books.keeper.shrunk() == [S]
    old, new = FiredStop("old", D(-7)), FiredStop("new", D(-2))
    assert books.keeper.explain(S, [FiredStop("x", D(-1))]) == []
    assert books.keeper.explain(S, [old, new]) == [StopFired(S, D(-2), ("new",))]
    assert books.keeper.shrunk() == []
    assert books.see("1", "3", baseline="-2") == []
    books = Books()
    books.see("0", "3")
    both = [FiredStop("a", D(-1)), FiredStop("b", D(-2))]
    assert books.keeper.explain(S, both) == [StopFired(S, D(-3), ("a", "b"))]


def test_what_grew_or_turned_is_no_stop() -> None:
    for amount in ("5", "-1"):
        books = Books()
        books.see(amount, "3")
        assert books.keeper.shrunk() == []


def test_a_result_a_moment_behind_is_no_mismatch() -> None:
    books = Books()
    books.see("3", "5")
    assert books.see("3", "3", at=1) == []
    assert books.see("3", "5", at=2) == []


def test_our_hold_ends_when_the_books_are_right_and_a_foreign_one_does_not() -> None:
    assert Books().see("3", "3", hold=HoldRecord(ours=True)) == [ReleaseHold(S)]
    assert Books().see("3", "3", hold=HoldRecord(ours=False)) == []


def test_a_person_accepts_the_difference() -> None:
    books = Books()
    assert books.see("3", "5", requested=True) == [Reconcile(S, D(-2))]
    assert books.see("3", "5", baseline="-2") == []
    assert Books().see("0", "5", requested=True) == [Reconcile(S, D(-5))]
    assert Books().see("3", NoLedger(), requested=True) == [Reconcile(S, D(3))]


def test_a_request_waits_for_an_order_on_its_way() -> None:
    assert Books().see("3", "5", requested=True, in_flight=True) == []


def test_no_reconciliation_mends_a_ledger_that_cannot_be_read() -> None:
    books = Books()
    assert books.see("3", Unknown("x"), requested=True) == []
    assert isinstance(books.see("3", Unknown("x"), at=GRACE_S)[0], PlaceHold)


def test_how_long_a_mismatch_has_stood_survives_a_restart() -> None:
    books = Books()
    hold = HoldRecord(ours=True, exchange=D(3), books=D(5), since_epoch=NOW - 100)
    books.see("3", "5", hold=hold)
    assert books.keeper.scene(S, D(3), 0.1, NOW).mismatch_steady_s == 100
    books.see("2", "5", hold=hold)
    assert books.keeper.scene(S, D(2), 0.1, NOW).mismatch_steady_s == 0
