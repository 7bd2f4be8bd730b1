"""Layer 3: every change of a position is explained by a result of ours, or it is told.

For each symbol a book is kept: what the position must be, by what was seen and by the fills
that came since. The exchange shows a fill a moment before its result is written, or a
moment after; both are waited for, nothing else is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from quantum_exit.values import finite, format_number

SUSPECT_CYCLES: Final = 2
"""A difference that nothing explains is told in the second cycle that sees it."""
EXCHANGE_LAG_S: Final = 10.0
"""So long the exchange may go on showing a position as it was before a fill of ours."""
_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Book:
    """`expected` is None until the symbol was seen in a quiet cycle for the first time."""

    expected: Decimal | None
    """What the position must be by our own fills."""
    seen: Decimal
    """As last observed."""
    explained: Decimal
    """As last observed in agreement with the book."""
    suspect_cycles: int = 0
    filled_epoch: float = 0.0
    """When the last fill was entered."""
    before_fill: Decimal | None = None
    """What was expected before it, until it shows: the exchange may show one fill and not yet
    the next."""


@dataclass(frozen=True, slots=True)
class Unexplained:
    symbol: str
    before: Decimal
    after: Decimal
    expected: Decimal


@dataclass(frozen=True, slots=True)
class Sight:
    """What one cycle saw. The grants were read after the positions, the fills after both:
    so an order of ours that shows in a position is still granted or already told."""

    now_epoch: float
    observed: Mapping[str, Decimal]
    """Signed amounts of all positions that are not flat."""
    fills: Mapping[str, Decimal]
    """Signed sums of the fills since the last cycle."""
    granted: frozenset[str]
    """Symbols in which an order may be on its way."""
    unreadable: frozenset[str] = frozenset()
    """Symbols of which this cycle could see nothing: neither `observed` nor flat."""


def watch(
    books: Mapping[str, Book], sight: Sight, *, first: bool
) -> tuple[dict[str, Book], tuple[Unexplained, ...]]:
    """The books after this cycle, and the changes that nothing explains.

    `first`: no books were ever kept, so what stands now is taken as it is. Otherwise a
    symbol without a book was flat.
    """
    after: dict[str, Book] = {}
    unexplained: list[Unexplained] = []
    for symbol in books.keys() | sight.observed.keys() | sight.fills.keys() | sight.unreadable:
        seen = sight.observed.get(symbol, _ZERO)
        begun = Book(None, seen, seen) if first else Book(_ZERO, _ZERO, _ZERO)
        book, problem = _look(symbol, books.get(symbol, begun), seen, sight)
        if problem is not None:
            unexplained.append(problem)
        if book.expected != 0 or book.seen != 0:
            after[symbol] = book
    return after, tuple(unexplained)


def _look(symbol: str, book: Book, seen: Decimal, sight: Sight) -> tuple[Book, Unexplained | None]:
    filled = sight.fills.get(symbol)
    if book.expected is None:
        quiet = filled is None and symbol not in sight.granted | sight.unreadable
        return Book(seen if quiet else None, seen, seen), None
    expected = book.expected + (filled or _ZERO)
    if filled is not None:
        filled_epoch, before_fill = sight.now_epoch, book.expected
        book = replace(book, expected=expected, filled_epoch=filled_epoch, before_fill=before_fill)
    if symbol in sight.unreadable:
        return book, None
    if seen == expected:
        return replace(book, seen=seen, explained=seen, suspect_cycles=0, before_fill=None), None
    if symbol in sight.granted:
        return replace(book, seen=seen, suspect_cycles=0), None
    lags = seen in (book.explained, book.before_fill)
    if lags and sight.now_epoch - book.filled_epoch < EXCHANGE_LAG_S:
        return replace(book, seen=seen), None
    suspect_cycles = book.suspect_cycles + 1
    if suspect_cycles < SUSPECT_CYCLES:
        return replace(book, seen=seen, suspect_cycles=suspect_cycles), None
    problem = Unexplained(symbol, before=book.explained, after=seen, expected=expected)
    return Book(seen, seen, seen), problem


def still_held(books: Mapping[str, Book], sight: Sight) -> frozenset[str]:
    """Symbols that this answer of the exchange shows flat, with no fill to say why: once, that
    may be the answer's fault. The next one is believed, and told by `watch`; where an order may
    be on its way, once that has ended."""
    return frozenset(
        symbol
        for symbol, book in books.items()
        if symbol not in sight.observed
        and symbol not in sight.unreadable
        and book.suspect_cycles + 1 < SUSPECT_CYCLES
        and book.expected
        and (book.expected + sight.fills.get(symbol, _ZERO)) * book.expected > 0
    )


def went_flat(
    books: Mapping[str, Book], fills: Iterable[tuple[str, Decimal]]
) -> dict[str, Decimal]:
    """Symbols whose position was zero, or on the other side, after one of these fills, with
    what it is after all of them.
    `fills`: (symbol, signed quantity), in the order in which they were made."""
    running: dict[str, Decimal] = {}
    flat: set[str] = set()
    for symbol, filled in fills:
        book = books.get(symbol)
        if book is None or not book.expected:
            continue
        running[symbol] = running.get(symbol, book.expected) + filled
        if running[symbol] * book.expected <= 0:
            flat.add(symbol)
    return {symbol: running[symbol] for symbol in flat}


def forget(books: Mapping[str, Book]) -> dict[str, Book]:
    """Fills may have been missed: what stands in the next quiet cycle is taken as it is."""
    return {symbol: Book(None, book.seen, book.seen) for symbol, book in books.items()}


def dump_book(book: Book) -> str:
    document = {
        "expected": None if book.expected is None else format_number(book.expected),
        "seen": format_number(book.seen),
        "explained": format_number(book.explained),
        "suspect_cycles": book.suspect_cycles,
        "filled_epoch": book.filled_epoch,
        "before_fill": None if book.before_fill is None else format_number(book.before_fill),
    }
    return json.dumps(document, separators=(",", ":"))


def load_book(text: str | bytes) -> Book:
    """Raises ValueError, KeyError, TypeError or ArithmeticError for what is not ours."""
    document = json.loads(text)
    expected = document["expected"]
    before_fill = document.get("before_fill")  # an older release did not keep it
    return Book(
        expected=None if expected is None else finite(expected),
        seen=finite(document["seen"]),
        explained=finite(document["explained"]),
        suspect_cycles=int(document["suspect_cycles"]),
        filled_epoch=float(document["filled_epoch"]),
        before_fill=None if before_fill is None else finite(before_fill),
    )
