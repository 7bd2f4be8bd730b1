"""Trades nobody here asked for: liquidation, auto-deleveraging, a hand on the exchange's app."""

from __future__ import annotations

from decimal import Decimal

from .engine import Engine
from .margins import busy_symbols, totals
from .orders import Order, OrderRequest
from .values import Actor, OrderType, Side


def liquidate_if_due(engine: Engine, asset: str, now_ms: int) -> list[Order]:
    """Closes every position of a margin asset once its balance no longer keeps them alive.

    Simpler than the real engine, which goes position by position and step by step.
    """
    if not engine.books.account.positions:
        return []
    state = totals(engine.books, asset)
    if state.margin_balance >= state.maintenance:
        return []
    orders = []
    for busy in busy_symbols(engine.books, asset):
        engine.cancel_all(busy, now_ms)
        if not engine.books.account.position(busy).is_flat:
            orders.append(close_whole(engine, busy, Actor.LIQUIDATION, now_ms))
    return orders


_PREFIX = {Actor.HAND: "web_", Actor.LIQUIDATION: "autoclose-", Actor.ADL: "adl_autoclose-"}


def trade_behind_our_back(
    engine: Engine, symbol: str, side: Side, quantity: Decimal, actor: Actor, now_ms: int
) -> Order:
    """Another actor trades on our account, at the mark price and without any check."""
    prefix = _PREFIX.get(actor, "web_")
    request = OrderRequest(
        symbol=symbol,
        side=side,
        type=OrderType.MARKET,
        quantity=quantity,
        client_order_id=f"{prefix}{engine.new_client_id()}",
        actor=actor,
    )
    return engine.place_behind_our_back(request, now_ms)


def close_whole(engine: Engine, symbol: str, actor: Actor, now_ms: int) -> Order:
    amount = engine.books.account.position(symbol).amount
    side = Side.SELL if amount > 0 else Side.BUY
    return trade_behind_our_back(engine, symbol, side, abs(amount), actor, now_ms)
