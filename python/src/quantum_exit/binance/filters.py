"""The exchange's order filters, applied before it would: exact, pure, for MARKET orders.

A reducing order is rounded down and knows no minimum notional; an opening one is taken as it
is asked for or denied with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal, DecimalException

from quantum_exit.binance.model import SymbolRules

# Wide enough that no quotient of two amounts that can be read is ever rounded.
_EXACT = Context(prec=200)


@dataclass(frozen=True, slots=True)
class Denial:
    """`code` is the reason as the results name it, `text` says it with the numbers."""

    code: str
    text: str


def floor_to_step(value: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of `step` that is at most `value` (both not negative, step > 0)."""
    return _EXACT.multiply(_EXACT.divide_int(value, step), step)


def ceil_to_step(value: Decimal, step: Decimal) -> Decimal:
    floor = floor_to_step(value, step)
    return floor if floor == value else _EXACT.add(floor, step)


def plain(value: Decimal) -> str:
    """As the exchange wants a number: no exponent, no needless zeros, no "-0"."""
    if not value.is_finite():
        raise ValueError("not a finite number")
    written = format(value, "f")
    if "." in written:
        written = written.rstrip("0").rstrip(".")
    return "0" if written in ("-0", "") else written


def market_quantity_step(rules: SymbolRules) -> Decimal:
    """Both lot filters hold for a MARKET order: the coarser step decides."""
    return max(rules.qty_step, rules.market_step)


def reducing_quantity(asked: Decimal, rules: SymbolRules) -> Decimal | Denial:
    """The quantity to send for a reduction of `asked` (above zero).

    Rounded down to the step and capped at the largest single order: the rest stays for a
    further exit. `quantity_below_step` when nothing sendable is left.
    """
    if not asked.is_finite() or asked <= 0:
        return Denial("quantity_below_step", "nothing to reduce")
    step = market_quantity_step(rules)
    largest = min(rules.max_qty, rules.market_max_qty)
    quantity = floor_to_step(min(asked, largest), step)
    smallest = max(rules.min_qty, rules.market_min_qty)
    if quantity <= 0 or quantity < smallest:
        return Denial(
            "quantity_below_step",
            f"{plain(asked)} is less than one step ({plain(step)}) or the smallest order "
            f"({plain(smallest)}) of {rules.symbol}",
        )
    return quantity


def check_opening(
    quantity: Decimal, rules: SymbolRules, mark_price: Decimal | None
) -> Denial | None:
    """None if a MARKET order of `quantity` passes every filter, else the first that it fails."""
    if not rules.trading:
        return Denial("limit_exceeded:symbol_status", f"{rules.symbol} is {rules.status}")
    return _check_lot(quantity, rules) or _check_notional(quantity, rules, mark_price)


def _check_lot(quantity: Decimal, rules: SymbolRules) -> Denial | None:
    step = market_quantity_step(rules)
    smallest = max(rules.min_qty, rules.market_min_qty, step)
    largest = min(rules.max_qty, rules.market_max_qty)
    if not quantity.is_finite() or quantity < smallest:
        return Denial("quantity_below_step", f"the smallest order is {plain(smallest)}")
    if quantity > largest:
        return Denial("limit_exceeded:max_qty", f"the largest order is {plain(largest)}")
    try:
        on_step = floor_to_step(quantity, step) == quantity
    except DecimalException:
        on_step = False
    if not on_step:
        return Denial("limit_exceeded:qty_step", f"not a multiple of {plain(step)}")
    if _decimals(quantity) > rules.qty_precision:
        return Denial("limit_exceeded:qty_step", f"over {rules.qty_precision} decimals")
    return None


def _check_notional(
    quantity: Decimal, rules: SymbolRules, mark_price: Decimal | None
) -> Denial | None:
    if mark_price is None or not mark_price.is_finite() or mark_price <= 0:
        return Denial("mark_price_unavailable", f"no mark price of {rules.symbol}")
    notional = _EXACT.multiply(quantity, mark_price)
    if notional < rules.min_notional:
        why = f"{plain(notional)} at the mark price is below {plain(rules.min_notional)}"
        return Denial(f"min_notional_check_failed:{why}", why)
    return None


def _decimals(value: Decimal) -> int:
    """Decimal places that are not zero."""
    return len(plain(value).partition(".")[2])


def trigger_price(price: Decimal, rules: SymbolRules, *, below: bool) -> Decimal | Denial:
    """`price` on the tick grid, rounded down if `below` is set, up otherwise.

    A protective stop of a long lies below the market and is rounded down, one of a short up:
    never closer to the market than asked for.
    """
    if not price.is_finite() or price <= 0:
        return Denial("invalid_field:trigger_price", "not above zero")
    rounding = floor_to_step if below else ceil_to_step
    rounded = rounding(price, rules.price_tick)
    if rounded <= 0:
        return Denial("invalid_field:trigger_price", f"below one tick {plain(rules.price_tick)}")
    return rounded
