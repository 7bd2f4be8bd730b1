"""A position on one line of characters: where stop, entry, price and target lie. Pure.

    S......*---E................T      S stop, E entry, * price, T target

`-` runs from the entry to a price that loses, `+` to one that gains. Plain ASCII, no colour.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Levels:
    """Prices of one position; None where there is none or nobody knows it."""

    entry: Decimal | None
    price: Decimal | None
    stop: Decimal | None
    target: Decimal | None
    is_long: bool


def bar(levels: Levels, wide: int) -> str:
    """Exactly `wide` characters; lower prices left. Blank when there is nothing to compare."""
    marks = {"T": levels.target, "E": levels.entry, "S": levels.stop, "*": levels.price}
    known = {mark: price for mark, price in marks.items() if price is not None}
    low, high = min(known.values(), default=Decimal(0)), max(known.values(), default=Decimal(0))
    if wide < 2 or low == high:
        return " " * max(wide, 0)

    def place(price: Decimal) -> int:
        return int((price - low) * (wide - 1) / (high - low))

    cells = ["."] * wide
    if levels.entry is not None and levels.price is not None:
        gains = (levels.price > levels.entry) == levels.is_long
        begin, end = sorted((place(levels.entry), place(levels.price)))
        cells[begin : end + 1] = ("+" if gains else "-") * (end - begin + 1)
    for mark, price in known.items():  # the price last: nothing hides it
        cells[place(price)] = mark
    return "".join(cells)


def room_pct(levels: Levels) -> Decimal | None:
    """How far the price may still move to the stop, in percent of the price; below zero it is
    through. None when either is not known."""
    if levels.price is None or levels.stop is None or not levels.price:
        return None
    gap = levels.price - levels.stop if levels.is_long else levels.stop - levels.price
    return (gap * 100 / levels.price).quantize(Decimal("0.01"))
