"""Policy, filters and pre-trade limits.

No value, price or rate stands between a position and its exit. The very same exit sent over
and over waits until the minute that saw the others is over; the owner itself is never stopped
until a person comes, as other sources are: that would leave every other position without exits.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from quantum_exit.binance.filters import check_opening
from quantum_exit.binance.model import SymbolRules
from quantum_exit.gates.model import (
    Claim,
    Denial,
    Observed,
    Order,
    Settings,
    denied,
)
from quantum_exit.policy.reader import ValidPolicy

MAX_REPEATS: Final = "limit_exceeded:max_repeats"


def limits(claim: Claim, order: Order, seen: Observed, settings: Settings) -> Denial | None:
    for check in (_too_often,) if order.by_owner and order.reduces else _ALL:
        denial = check(claim, order, seen, settings)
        if denial is not None:
            return denial
    return None


def _opening(claim: Claim, order: Order, seen: Observed, _settings: Settings) -> Denial | None:
    """Nothing opens without a valid policy that names the symbol, nor against the filters."""
    if order.reduces:
        return None
    symbol = claim.plan.symbol
    if not isinstance(seen.policy, ValidPolicy):
        return denied("policy_missing_or_stale")
    if symbol not in seen.policy.view.universe:
        return denied(f"symbol_not_in_allowlist:{symbol}")
    if not isinstance(seen.mark_price, Decimal):
        return denied("mark_price_unavailable")
    if not isinstance(seen.rules, SymbolRules):
        return denied("min_notional_check_failed:filters_unknown")
    refused = check_opening(order.qty, seen.rules, seen.mark_price)
    return None if refused is None else denied(refused.code)


def _rate(claim: Claim, _order: Order, seen: Observed, settings: Settings) -> Denial | None:
    most = settings.limits_of(claim.plan.symbol).max_orders_per_min
    if most is not None and seen.orders_last_minute >= most:
        return denied("limit_exceeded:max_orders_per_min")
    return None


def _value_and_collar(
    claim: Claim, order: Order, seen: Observed, settings: Settings
) -> Denial | None:
    """The collar compares the price a plan names (`trigger_price`: of a stop, or the one its
    producer saw) with the mark price."""
    own = settings.limits_of(claim.plan.symbol)
    named = claim.plan.trigger_price
    if own.max_order_value is None and (own.price_collar_pct is None or named is None):
        return None
    mark = seen.mark_price
    if not isinstance(mark, Decimal):
        return denied("mark_price_unavailable")
    if own.max_order_value is not None and order.qty * mark > own.max_order_value:
        return denied("limit_exceeded:max_order_value")
    if own.price_collar_pct is not None and named is not None:
        distance_pct = abs(named - mark) / mark * 100
        if distance_pct > own.price_collar_pct:
            return denied("limit_exceeded:price_collar")
    return None


def _repeats(claim: Claim, order: Order, seen: Observed, settings: Settings) -> Denial | None:
    """A source that sends the same order over and over is broken: it waits for a person."""
    if seen.source_stopped:
        return denied("limit_exceeded:source_stopped")
    return _too_often(claim, order, seen, settings)


def _too_often(claim: Claim, _order: Order, seen: Observed, settings: Settings) -> Denial | None:
    """Passes again by itself, when the others are a minute old. The first repeats nothing,
    whatever the limit: it may be the exit of a position."""
    most = settings.limits_of(claim.plan.symbol).max_repeats
    if most is not None and seen.repeats >= max(most, 1):
        return denied(MAX_REPEATS)
    return None


_Check = Callable[[Claim, Order, Observed, Settings], Denial | None]
_ALL: Final[tuple[_Check, ...]] = (_opening, _rate, _value_and_collar, _repeats)
