"""What a fill does to a position, for any sequence of fills."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from paper_exchange.domain.positions import Position, after_fill, break_even

quantities = st.integers(1, 5_000).map(lambda n: Decimal(n) / 1_000)
prices = st.integers(1, 10_000_000).map(lambda n: Decimal(n) / 100)
signed = st.builds(lambda q, sign: q * sign, quantities, st.sampled_from((1, -1)))
fills = st.lists(st.tuples(signed, prices), min_size=1, max_size=30)
NEAR = Decimal("0.000001")


def play(sequence: list[tuple[Decimal, Decimal]]) -> tuple[Position, Decimal]:
    position, realized = Position("X"), Decimal(0)
    for delta, price in sequence:
        position, profit = after_fill(position, delta, price, 0)
        realized += profit
    return position, realized


@given(fills)
def test_the_amount_is_the_sum_of_the_fills(sequence: list[tuple[Decimal, Decimal]]) -> None:
    position, _ = play(sequence)
    assert position.amount == sum(delta for delta, _ in sequence)


@given(fills, prices)
def test_no_profit_is_made_or_lost_by_bookkeeping(
    sequence: list[tuple[Decimal, Decimal]], mark: Decimal
) -> None:
    """Realized plus unrealized is what the cash of the fills and the holding are worth."""
    position, realized = play(sequence)
    cash = -sum(delta * price for delta, price in sequence)
    assert abs(realized + position.unrealized(mark) - (cash + position.amount * mark)) < NEAR


@given(fills)
def test_a_flat_position_has_no_entry_and_an_open_one_lies_within_the_prices(
    sequence: list[tuple[Decimal, Decimal]],
) -> None:
    position, _ = play(sequence)
    if position.is_flat:
        assert position.entry_price == 0
    else:
        seen = [price for _, price in sequence]
        assert min(seen) - NEAR <= position.entry_price <= max(seen) + NEAR


@given(signed, prices, prices)
def test_reducing_keeps_the_entry_and_flipping_takes_the_new_price(
    amount: Decimal, entry: Decimal, price: Decimal
) -> None:
    held = Position("X", amount, entry)
    reduced, _ = after_fill(held, -amount / 2, price, 0)
    flipped, _ = after_fill(held, -amount * 2, price, 0)
    assert reduced.entry_price == entry
    assert flipped.entry_price == price
    assert flipped.amount == -amount


def test_a_long_breaks_even_above_its_entry_and_a_short_below() -> None:
    fee = Decimal("0.0004")
    assert break_even(Position("X", Decimal(1), Decimal(100)), fee) == Decimal("100.04")
    assert break_even(Position("X", Decimal(-1), Decimal(100)), fee) == Decimal("99.96")
    assert break_even(Position("X"), fee) == 0
