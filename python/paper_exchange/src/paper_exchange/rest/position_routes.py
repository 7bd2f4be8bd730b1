"""Positions, leverage, brackets and the position mode."""

from __future__ import annotations

from collections.abc import Mapping

from ..domain import refusals
from ..domain.account import AssetMargin
from ..domain.margins import busy_symbols, liquidation_price_of, of_symbol, totals
from ..domain.positions import break_even
from ..domain.values import ZERO, money, padded
from .auth import Right
from .endpoints import Call, Endpoint
from .shapes import plain

_DONE = {"code": 200, "msg": "success"}


def _totals(call: Call) -> dict[str, AssetMargin]:
    """Of every margin asset with a position, worked out once a request."""
    books = call.venue.exchange.books
    assets = {books.rules[symbol].margin_asset for symbol in books.account.positions}
    return {asset: totals(books, asset) for asset in assets}


def _common(call: Call, symbol: str, states: Mapping[str, AssetMargin]) -> dict[str, object]:
    """What both versions of positionRisk share."""
    exchange = call.venue.exchange
    books = exchange.books
    position = books.account.position(symbol)
    margin = of_symbol(books, symbol)
    form = call.venue.form(symbol)
    held = not position.is_flat
    liquidation = ZERO
    if held:
        liquidation = liquidation_price_of(books, symbol, states[books.rules[symbol].margin_asset])
    return {
        "symbol": symbol,
        "positionAmt": form.qty(position.amount),
        "entryPrice": form.price(position.entry_price) if held else "0.0",
        "breakEvenPrice": (
            form.price(break_even(position, exchange.engine.terms.taker_fee)) if held else "0.0"
        ),
        "markPrice": money(books.marks[symbol]),
        "unRealizedProfit": money(margin.unrealized),
        "liquidationPrice": plain(liquidation),
        "isolatedMargin": money(ZERO),
        "positionSide": "BOTH",
        "notional": plain(margin.notional),
        "isolatedWallet": "0",
        "updateTime": position.updated_ms,
    }


def _risk_v2(call: Call) -> object:
    only = call.optional_symbol
    states = _totals(call)
    return [_position_v2(call, s, states) for s in ([only] if only else call.venue.exchange.rules)]


def _position_v2(call: Call, symbol: str, states: Mapping[str, AssetMargin]) -> dict[str, object]:
    account = call.venue.exchange.books.account
    isolated = symbol in account.isolated
    return {
        **_common(call, symbol, states),
        "leverage": str(account.leverage(symbol)),
        "maxNotionalValue": padded(call.venue.exchange.max_notional(symbol), 0),
        "marginType": "isolated" if isolated else "cross",
        "isAutoAddMargin": "false",
        "isolated": isolated,
        "adlQuantile": 0 if account.position(symbol).is_flat else 1,
    }


def _risk_v3(call: Call) -> object:
    """Only symbols with a position or an open order."""
    only = call.optional_symbol
    symbols = busy_symbols(call.venue.exchange.books)
    states = _totals(call)
    return [_position_v3(call, s, states) for s in symbols if only in (None, s)]


def _position_v3(call: Call, symbol: str, states: Mapping[str, AssetMargin]) -> dict[str, object]:
    books = call.venue.exchange.books
    margin = of_symbol(books, symbol)
    return {
        **_common(call, symbol, states),
        "marginAsset": books.rules[symbol].margin_asset,
        "initialMargin": plain(margin.initial + margin.open_orders),
        "maintMargin": plain(margin.maintenance),
        "positionInitialMargin": plain(margin.initial),
        "openOrderInitialMargin": plain(margin.open_orders),
        "adl": 0 if books.account.position(symbol).is_flat else 1,
        "bidNotional": "0",
        "askNotional": "0",
    }


def _symbol_config(call: Call) -> object:
    account = call.venue.exchange.books.account
    only = call.optional_symbol
    return [
        {
            "symbol": symbol,
            "marginType": "ISOLATED" if symbol in account.isolated else "CROSSED",
            "isAutoAddMargin": False,
            "leverage": account.leverage(symbol),
            "maxNotionalValue": padded(call.venue.exchange.max_notional(symbol), 0),
        }
        for symbol in ([only] if only else call.venue.exchange.rules)
    ]


def _leverage(call: Call) -> object:
    exchange = call.venue.exchange
    exchange.set_leverage(call.symbol, call.params.integer("leverage"))
    return {
        "leverage": exchange.books.account.leverage(call.symbol),
        "maxNotionalValue": padded(exchange.max_notional(call.symbol), 0),
        "symbol": call.symbol,
    }


def _brackets_of(call: Call, symbol: str) -> dict[str, object]:
    return {
        "symbol": symbol,
        "brackets": [
            {
                "bracket": b.number,
                "initialLeverage": b.initial_leverage,
                "notionalCap": int(b.cap),
                "notionalFloor": int(b.floor),
                "maintMarginRatio": float(b.maint_ratio),
                "cum": float(b.cum),
            }
            for b in call.venue.exchange.books.brackets[symbol]
        ],
    }


def _brackets(call: Call) -> object:
    """A list in both cases, as the real exchange answers today."""
    only = call.optional_symbol
    return [_brackets_of(call, s) for s in ([only] if only else call.venue.exchange.rules)]


def _dual(call: Call) -> object:
    return {"dualSidePosition": call.venue.exchange.books.account.hedge_mode}


def _set_dual(call: Call) -> object:
    call.params.text("dualSidePosition")
    call.venue.exchange.set_hedge_mode(call.params.flag("dualSidePosition"))
    return _DONE


def _margin_type(call: Call) -> object:
    kind = call.params.text("marginType")
    if kind not in ("ISOLATED", "CROSSED"):
        raise refusals.invalid_data("marginType")
    call.venue.exchange.set_margin_type(call.symbol, kind == "ISOLATED")
    return _DONE


ENDPOINTS = (
    Endpoint("GET", "/fapi/v2/positionRisk", Right.READ, 5, _risk_v2),
    Endpoint("GET", "/fapi/v3/positionRisk", Right.READ, 5, _risk_v3),
    Endpoint("GET", "/fapi/v1/symbolConfig", Right.READ, 5, _symbol_config),
    Endpoint("GET", "/fapi/v1/leverageBracket", Right.READ, 1, _brackets),
    Endpoint("POST", "/fapi/v1/leverage", Right.TRADE, 1, _leverage, changes=True),
    Endpoint("POST", "/fapi/v1/marginType", Right.TRADE, 1, _margin_type, changes=True),
    Endpoint("GET", "/fapi/v1/positionSide/dual", Right.READ, 30, _dual),
    Endpoint("POST", "/fapi/v1/positionSide/dual", Right.TRADE, 1, _set_dual, changes=True),
)
