"""Account and balances."""

from __future__ import annotations

from ..domain.account import AssetMargin
from ..domain.margins import busy_symbols, of_symbol, totals
from ..domain.positions import break_even
from ..domain.values import ZERO, money, padded
from .auth import Right
from .endpoints import Call, Endpoint
from .shapes import plain

_ALIAS = "SgsRuXqAuXsRmYTi"
_COLLATERAL = "USDT"


def _assets(call: Call) -> list[str]:
    """Every collateral asset of the exchange, held or not."""
    exchange = call.venue.exchange
    listed = [a["asset"] for a in exchange.market.info.get("assets", ()) if a["marginAvailable"]]
    return sorted({*listed, *exchange.books.account.wallets})


def _asset_updated_ms(call: Call, asset: str) -> int:
    account = call.venue.exchange.books.account
    return account.updated_ms if asset in account.wallets else 0


def _balance(call: Call) -> object:
    rows = []
    for asset in _assets(call):
        state = totals(call.venue.exchange.books, asset)
        rows.append(
            {
                "accountAlias": _ALIAS,
                "asset": asset,
                "balance": money(state.wallet),
                "crossWalletBalance": money(state.wallet),
                "crossUnPnl": money(state.unrealized),
                "availableBalance": money(state.available),
                "maxWithdrawAmount": money(min(state.available, state.wallet)),
                "marginAvailable": True,
                "updateTime": _asset_updated_ms(call, asset),
            }
        )
    return rows


def _totals_block(state: AssetMargin) -> dict[str, object]:
    return {
        "totalInitialMargin": money(state.position_initial + state.order_initial),
        "totalMaintMargin": money(state.maintenance),
        "totalWalletBalance": money(state.wallet),
        "totalUnrealizedProfit": money(state.unrealized),
        "totalMarginBalance": money(state.margin_balance),
        "totalPositionInitialMargin": money(state.position_initial),
        "totalOpenOrderInitialMargin": money(state.order_initial),
        "totalCrossWalletBalance": money(state.wallet),
        "totalCrossUnPnl": money(state.unrealized),
        "availableBalance": money(state.available),
        "maxWithdrawAmount": money(min(state.available, state.wallet)),
    }


def _asset_block(call: Call, asset: str) -> dict[str, object]:
    state = totals(call.venue.exchange.books, asset)
    return {
        "asset": asset,
        "walletBalance": money(state.wallet),
        "unrealizedProfit": money(state.unrealized),
        "marginBalance": money(state.margin_balance),
        "maintMargin": money(state.maintenance),
        "initialMargin": money(state.position_initial + state.order_initial),
        "positionInitialMargin": money(state.position_initial),
        "openOrderInitialMargin": money(state.order_initial),
        "crossWalletBalance": money(state.wallet),
        "crossUnPnl": money(state.unrealized),
        "availableBalance": money(state.available),
        "maxWithdrawAmount": money(min(state.available, state.wallet)),
        "updateTime": _asset_updated_ms(call, asset),
    }


def _account_v2(call: Call) -> object:
    exchange = call.venue.exchange
    state = totals(exchange.books, _COLLATERAL)
    assets = [{**_asset_block(call, a), "marginAvailable": True} for a in _assets(call)]
    return {
        "feeTier": 0,
        "feeBurn": True,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
        **_totals_block(state),
        "assets": assets,
        "positions": [_account_position_v2(call, symbol) for symbol in exchange.rules],
    }


def _account_position_v2(call: Call, symbol: str) -> dict[str, object]:
    books = call.venue.exchange.books
    position = books.account.position(symbol)
    margin = of_symbol(books, symbol)
    form = call.venue.form(symbol)
    fee = call.venue.exchange.engine.terms.taker_fee
    return {
        "symbol": symbol,
        "initialMargin": plain(margin.initial + margin.open_orders),
        "maintMargin": plain(margin.maintenance),
        "unrealizedProfit": money(margin.unrealized),
        "positionInitialMargin": plain(margin.initial),
        "openOrderInitialMargin": plain(margin.open_orders),
        "leverage": str(books.account.leverage(symbol)),
        "isolated": symbol in books.account.isolated,
        "entryPrice": form.price(position.entry_price),
        "breakEvenPrice": form.price(break_even(position, fee)),
        "maxNotional": padded(call.venue.exchange.max_notional(symbol), 0),
        "bidNotional": "0",
        "askNotional": "0",
        "positionSide": "BOTH",
        "positionAmt": form.qty(position.amount),
        "notional": plain(margin.notional),
        "isolatedWallet": "0",
        "updateTime": position.updated_ms,
    }


def _account_v3(call: Call) -> object:
    books = call.venue.exchange.books
    return {
        **_totals_block(totals(books, _COLLATERAL)),
        "assets": [_asset_block(call, asset) for asset in _assets(call)],
        "positions": [_account_position_v3(call, symbol) for symbol in busy_symbols(books)],
    }


def _account_position_v3(call: Call, symbol: str) -> dict[str, object]:
    books = call.venue.exchange.books
    position = books.account.position(symbol)
    margin = of_symbol(books, symbol)
    return {
        "symbol": symbol,
        "positionSide": "BOTH",
        "positionAmt": call.venue.form(symbol).qty(position.amount),
        "unrealizedProfit": money(margin.unrealized),
        "isolatedMargin": money(ZERO),
        "notional": plain(margin.notional),
        "isolatedWallet": "0",
        "initialMargin": plain(margin.initial + margin.open_orders),
        "maintMargin": plain(margin.maintenance),
        "updateTime": position.updated_ms,
    }


def _account_config(call: Call) -> object:
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "dualSidePosition": call.venue.exchange.books.account.hedge_mode,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
    }


ENDPOINTS = (
    Endpoint("GET", "/fapi/v2/account", Right.READ, 5, _account_v2),
    Endpoint("GET", "/fapi/v3/account", Right.READ, 5, _account_v3),
    Endpoint("GET", "/fapi/v1/accountConfig", Right.READ, 5, _account_config),
    Endpoint("GET", "/fapi/v2/balance", Right.READ, 5, _balance),
    Endpoint("GET", "/fapi/v3/balance", Right.READ, 5, _balance),
)
