"""What an order must pass before it is accepted, in the order of the questions."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from . import refusals
from .brackets import Bracket, max_notional
from .orders import Order, OrderRequest
from .positions import Position
from .refusals import Refused
from .symbols import SymbolRules, check_percent_price, check_price, check_quantity
from .values import ZERO, OrderType


def check_form(rules: SymbolRules, request: OrderRequest, mark: Decimal, fill: Decimal) -> None:
    """Filters of the symbol. `fill`: the price at which it would trade now. Raises Refused."""
    if rules.status != "TRADING" and not request.reduce_only:
        raise Refused(-4140, "Invalid symbol status for opening position.")
    market = request.type is OrderType.MARKET
    check_quantity(rules, request.quantity, market=market)
    if market:
        up, down = mark * rules.multiplier_up, mark * rules.multiplier_down
        if not down <= fill <= up:
            raise Refused(
                -4131,
                "The counterparty's best price does not meet the PERCENT_PRICE filter limit.",
            )
    else:
        check_price(rules, request.price)
        check_percent_price(rules, request.side, request.price, mark)
    price = mark if market else request.price
    if not request.reduce_only and price * request.quantity < rules.min_notional:
        raise refusals.min_notional(rules.min_notional)


def reducing_quantity(
    position: Position, request: OrderRequest, open_orders: Iterable[Order]
) -> Decimal:
    """What of a reduce-only order is accepted: cut to the position that no other covers."""
    if position.amount * request.side.sign >= 0:
        raise refusals.reduce_only()
    covered = sum(
        (o.remaining for o in open_orders if o.reduce_only and o.side is request.side), ZERO
    )
    room = abs(position.amount) - covered
    if room <= 0:
        raise refusals.reduce_only_covered()
    return min(request.quantity, room)


def enlarging_quantity(position: Position, request: OrderRequest) -> Decimal:
    """The part of an order without reduceOnly that opens, or opens anew after a flip."""
    if position.amount * request.side.sign >= 0:
        return request.quantity
    return max(request.quantity - abs(position.amount), ZERO)


def enlarging_notional(position: Position, open_orders: Iterable[Order]) -> Decimal:
    """The most that the open orders could add to the position, counting the worse direction."""
    notional = {1: ZERO, -1: ZERO}
    quantity = {1: ZERO, -1: ZERO}
    for order in open_orders:
        if not order.reduce_only:
            notional[order.side.sign] += order.remaining * order.price
            quantity[order.side.sign] += order.remaining
    for direction in (1, -1):
        against = -position.amount * direction
        if against > 0 and quantity[direction]:
            left = max(quantity[direction] - against, ZERO)
            notional[direction] *= left / quantity[direction]
    return max(notional.values())


def check_position_limit(
    after: Decimal, resting: Decimal, brackets: tuple[Bracket, ...], leverage: int
) -> None:
    """`after`: the position's notional once filled; `resting`: of open orders. Raises Refused."""
    if after + resting > max_notional(brackets, leverage):
        raise refusals.position_limit()
