"""Margin of the positions at their mark prices."""

from __future__ import annotations

from decimal import Decimal

from .account import (
    AssetMargin,
    PositionMargin,
    asset_margin,
    liquidation_price,
    position_margin,
)
from .books import Books
from .brackets import bracket_of
from .checks import enlarging_notional
from .values import ZERO


def of_symbol(books: Books, symbol: str) -> PositionMargin:
    position = books.account.position(symbol)
    return position_margin(
        position,
        books.marks[symbol],
        books.account.leverage(symbol),
        books.brackets[symbol],
        enlarging_notional(position, books.orders.open_orders(symbol)),
    )


def busy_symbols(books: Books, asset: str | None = None) -> list[str]:
    """Symbols with a position or an open order, sorted."""
    symbols = set(books.account.positions) | {o.symbol for o in books.orders.open_orders()}
    return sorted(s for s in symbols if asset is None or books.rules[s].margin_asset == asset)


def totals(books: Books, asset: str) -> AssetMargin:
    wallet = books.account.wallets.get(asset, ZERO)
    return asset_margin(wallet, (of_symbol(books, s) for s in busy_symbols(books, asset)))


def liquidation_price_of(books: Books, symbol: str, asset_totals: AssetMargin) -> Decimal:
    brackets = books.brackets[symbol]
    return liquidation_price(
        books.account.position(symbol),
        asset_totals,
        of_symbol(books, symbol),
        lambda notional: bracket_of(brackets, notional),
    )
