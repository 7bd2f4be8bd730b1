"""Observed flat, never observed, stale and malformed are four different things."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from quantum_exit.sanity.snapshot import SeenPosition, snapshot_fields, view_position
from quantum_exit.values import Stale, Unknown

NOW = 1_700_000_000.0
STATE = {b"ts_epoch": str(NOW - 1).encode(), b"symbols": b'["ETHUSDT"]'}


def row(amount: str = "-1.5", ts_epoch: float = NOW - 1) -> dict[bytes, bytes]:
    fields = snapshot_fields(
        amount=Decimal(amount),
        entry_price=Decimal("1E+2"),
        mark_price=Decimal("0.00000001"),
        leverage=5,
        unrealized_pnl=Decimal("-0.10"),
        ts_epoch=ts_epoch,
    )
    return {name.encode(): value.encode() for name, value in fields.items()}


def test_a_snapshot_reads_back() -> None:
    assert view_position("BTCUSDT", row(), {}, NOW) == SeenPosition(
        "BTCUSDT", Decimal("-1.5"), NOW - 1
    )
    assert row()[b"side"] == b"SHORT"
    assert (row()[b"entry_price"], row()[b"mark_price"]) == (b"100", b"0.00000001")


def test_after_ten_seconds_it_is_stale() -> None:
    assert isinstance(view_position("BTCUSDT", row(ts_epoch=NOW - 10), {}, NOW), SeenPosition)
    assert isinstance(view_position("BTCUSDT", row(ts_epoch=NOW - 10.1), {}, NOW), Stale)
    assert isinstance(view_position("BTCUSDT", row(ts_epoch=NOW + 10.1), {}, NOW), Stale)


def test_absent_is_flat_only_if_the_whole_account_was_seen_without_it() -> None:
    seen = view_position("BTCUSDT", {}, STATE, NOW)
    assert isinstance(seen, SeenPosition)
    assert seen.amount == 0
    assert isinstance(view_position("ETHUSDT", {}, STATE, NOW), Unknown)
    assert isinstance(view_position("BTCUSDT", {}, {}, NOW), Unknown)
    assert isinstance(view_position("BTCUSDT", {}, STATE, NOW + 20), Stale)


fields = st.dictionaries(
    st.sampled_from([b"position_amt", b"ts_epoch", b"symbols"]),
    st.binary(max_size=20) | st.sampled_from([b"1", b"-1", b"1e5", b"NaN", b"[]", b"1700000000"]),
)


@given(fields, fields)
def test_no_content_makes_it_raise(one: dict[bytes, bytes], other: dict[bytes, bytes]) -> None:
    view = view_position("BTCUSDT", one, other, NOW)
    assert isinstance(view, SeenPosition | Stale | Unknown)
