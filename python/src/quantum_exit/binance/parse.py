"""From decoded JSON to values. Everything wrong with an answer is `Malformed`, nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from quantum_exit.binance.fields import (
    Malformed,
    amount,
    as_list,
    as_object,
    choice,
    decode_json,
    flag,
    not_negative,
    parse_amount,
    positive,
    text,
    whole,
    whole_or_text,
)
from quantum_exit.binance.model import (
    ORDER_STATUSES,
    Account,
    AlgoAck,
    AlgoCancelAck,
    Balance,
    Kline,
    LeverageSetting,
    MarkPrice,
    OrderAck,
    Position,
    PositionRows,
    SymbolConfig,
    SymbolRules,
    Trade,
    TradingIndicator,
)

_SYMBOL = re.compile(r"[A-Z0-9_\u4e00-\u9fff]{1,40}")
_SIDES = frozenset({"BUY", "SELL"})
_POSITION_SIDES = frozenset({"BOTH", "LONG", "SHORT"})


def order_ack(value: Any) -> OrderAck:
    row = as_object(value)
    orig_qty = not_negative(row, "origQty")
    executed_qty = not_negative(row, "executedQty")
    if executed_qty > orig_qty:
        raise Malformed("executedQty: more than origQty")
    return OrderAck(
        symbol=text(row, "symbol"),
        order_id=whole(row, "orderId"),
        client_order_id=text(row, "clientOrderId"),
        status=choice(row, "status", ORDER_STATUSES),
        side=choice(row, "side", _SIDES),
        type=text(row, "type"),
        orig_qty=orig_qty,
        executed_qty=executed_qty,
        avg_price=_avg_price(row),
        reduce_only=flag(row, "reduceOnly"),
        update_time_ms=whole(row, "updateTime") if "updateTime" in row else 0,
    )


def _avg_price(row: Mapping[str, Any]) -> Decimal | None:
    if row.get("avgPrice") in (None, ""):
        return None
    return not_negative(row, "avgPrice") or None


def order_list(value: Any) -> list[OrderAck]:
    return [order_ack(row) for row in as_list(value)]


def algo_ack(value: Any) -> AlgoAck:
    row = as_object(value)
    actual = row.get("actualOrderId")
    return AlgoAck(
        algo_id=whole(row, "algoId"),
        client_algo_id=text(row, "clientAlgoId"),
        status=text(row, "algoStatus"),
        symbol=text(row, "symbol"),
        side=choice(row, "side", _SIDES),
        quantity=not_negative(row, "quantity"),
        trigger_price=not_negative(row, "triggerPrice"),
        reduce_only=flag(row, "reduceOnly"),
        actual_order_id=None if actual in (None, "") else whole_or_text(row, "actualOrderId"),
    )


def algo_list(value: Any) -> list[AlgoAck]:
    return [algo_ack(row) for row in as_list(value)]


def algo_cancel_ack(value: Any) -> AlgoCancelAck:
    row = as_object(value)
    if whole_or_text(row, "code") != 200:
        raise Malformed("code: not 200")
    return AlgoCancelAck(algo_id=whole(row, "algoId"), client_algo_id=text(row, "clientAlgoId"))


def positions(value: Any) -> list[Position]:
    return [_position(as_object(row)) for row in as_list(value)]


def position_rows(value: Any) -> PositionRows:
    """A row that cannot be read makes its symbol unknown. One that does not even say which
    symbol it is of makes the whole answer `Malformed`: it could be any."""
    found: list[Position] = []
    unreadable: set[str] = set()
    for item in as_list(value):
        row = as_object(item)
        try:
            found.append(_position(row))
        except Malformed:
            symbol = text(row, "symbol")
            if not _SYMBOL.fullmatch(symbol):
                raise
            unreadable.add(symbol)
    positions = tuple(one for one in found if one.symbol not in unreadable)
    return PositionRows(positions, frozenset(unreadable))


def _position(row: Mapping[str, Any]) -> Position:
    return Position(
        symbol=text(row, "symbol"),
        amount=amount(row, "positionAmt"),
        entry_price=not_negative(row, "entryPrice"),
        mark_price=not_negative(row, "markPrice"),
        unrealized_pnl=amount(row, "unRealizedProfit"),
        leverage=whole_or_text(row, "leverage") if "leverage" in row else None,
        liquidation_price=amount(row, "liquidationPrice") or None,
        update_time_ms=whole(row, "updateTime"),
        position_side=choice(row, "positionSide", _POSITION_SIDES),
    )


def symbol_configs(value: Any) -> dict[str, SymbolConfig]:
    configs = [_symbol_config(as_object(row)) for row in as_list(value)]
    return {config.symbol: config for config in configs}


def _symbol_config(row: Mapping[str, Any]) -> SymbolConfig:
    return SymbolConfig(
        symbol=text(row, "symbol"),
        leverage=whole_or_text(row, "leverage"),
        margin_type=text(row, "marginType"),
        max_notional=amount(row, "maxNotionalValue"),
    )


def mark_prices(value: Any) -> dict[str, MarkPrice]:
    """By symbol. A symbol without a usable price (delisted, not begun) is left out."""
    found: dict[str, MarkPrice] = {}
    for item in as_list(value):
        row = as_object(item)
        try:
            mark = MarkPrice(text(row, "symbol"), positive(row, "markPrice"), whole(row, "time"))
        except Malformed:
            continue
        found[mark.symbol] = mark
    return found


def balances(value: Any) -> list[Balance]:
    return [_balance(as_object(row)) for row in as_list(value)]


def _balance(row: Mapping[str, Any]) -> Balance:
    return Balance(text(row, "asset"), amount(row, "balance"), amount(row, "availableBalance"))


def account(value: Any) -> Account:
    row = as_object(value)
    return Account(
        can_trade=flag(row, "canTrade"),
        multi_assets_margin=flag(row, "multiAssetsMargin"),
        wallet=amount(row, "totalWalletBalance"),
        margin_balance=amount(row, "totalMarginBalance"),
        available=amount(row, "availableBalance"),
        unrealized_pnl=amount(row, "totalUnrealizedProfit"),
    )


def trades(value: Any) -> list[Trade]:
    return [_trade(as_object(row)) for row in as_list(value)]


def _trade(row: Mapping[str, Any]) -> Trade:
    return Trade(
        symbol=text(row, "symbol"),
        trade_id=whole(row, "id"),
        order_id=whole(row, "orderId"),
        side=choice(row, "side", _SIDES),
        price=positive(row, "price"),
        qty=positive(row, "qty"),
        quote_qty=not_negative(row, "quoteQty"),
        # Its sign was once printed the other way round; what was paid is meant.
        commission=abs(amount(row, "commission")),
        commission_asset=text(row, "commissionAsset"),
        realized_pnl=amount(row, "realizedPnl"),
        maker=flag(row, "maker"),
        time_ms=whole(row, "time"),
    )


def klines(value: Any) -> list[Kline]:
    return [_kline(as_list(row)) for row in as_list(value)]


def _kline(row: list[Any]) -> Kline:
    if len(row) < 7:
        raise Malformed("kline: too few columns")
    times = {"openTime": row[0], "closeTime": row[6]}
    return Kline(
        open_time_ms=whole(times, "openTime"),
        open=parse_amount(row[1], "open"),
        high=parse_amount(row[2], "high"),
        low=parse_amount(row[3], "low"),
        close=parse_amount(row[4], "close"),
        volume=parse_amount(row[5], "volume"),
        close_time_ms=whole(times, "closeTime"),
    )


def trading_indicators(value: Any) -> list[TradingIndicator]:
    scopes = as_object(as_object(value).get("indicators"))
    return [
        TradingIndicator(
            scope=scope,
            name=text(as_object(row), "indicator"),
            locked=flag(row, "isLocked"),
            recover_time_ms=whole(row, "plannedRecoverTime"),
        )
        for scope, rows in scopes.items()
        for row in as_list(rows)
    ]


def leverage_setting(value: Any) -> LeverageSetting:
    row = as_object(value)
    return LeverageSetting(
        symbol=text(row, "symbol"),
        leverage=whole_or_text(row, "leverage"),
        max_notional=amount(row, "maxNotionalValue"),
    )


def max_leverages(value: Any) -> dict[str, int]:
    """The highest leverage that the first bracket of each symbol allows."""
    found: dict[str, int] = {}
    for item in value if isinstance(value, list) else [value]:
        row = as_object(item)
        brackets = [as_object(bracket) for bracket in as_list(row.get("brackets"))]
        if not brackets:
            raise Malformed("brackets: empty")
        found[text(row, "symbol")] = max(whole(b, "initialLeverage") for b in brackets)
    return found


def exchange_rules(body: bytes) -> dict[str, SymbolRules]:
    """The rules of every symbol whose filters are complete, at least one; others are left out.

    Decoded symbol by symbol: the whole answer never exists as Python objects, which would be
    several times the memory of what is kept. Equal numbers are one object.
    """
    seen: dict[str, Decimal] = {}

    def compact(item: dict[str, Any]) -> Any:
        if "filters" not in item:
            return item
        try:
            return _symbol_rules(item, seen)
        except Malformed:
            return None

    symbols = as_list(as_object(decode_json(body, compact)).get("symbols"))
    found = {rules.symbol: rules for rules in symbols if isinstance(rules, SymbolRules)}
    if not found:
        # An exchange without a symbol is none: what is known stays known.
        raise Malformed("symbols: none that can be read")
    return found


def _symbol_rules(row: Mapping[str, Any], seen: dict[str, Decimal]) -> SymbolRules:
    filters = {text(as_object(f), "filterType"): f for f in as_list(row.get("filters"))}

    def number(kind: str, name: str) -> Decimal:
        value = not_negative(as_object(filters.get(kind)), name)
        return seen.setdefault(str(value), value)

    def above_zero(kind: str, name: str) -> Decimal:
        value = number(kind, name)
        if value <= 0:
            raise Malformed(f"{kind}.{name}: not above zero")
        return value

    qty_step = above_zero("LOT_SIZE", "stepSize")
    return SymbolRules(
        symbol=text(row, "symbol"),
        status=text(row, "status"),
        price_tick=above_zero("PRICE_FILTER", "tickSize"),
        qty_step=qty_step,
        min_qty=number("LOT_SIZE", "minQty"),
        max_qty=above_zero("LOT_SIZE", "maxQty"),
        # A step of zero means that this filter adds none of its own.
        market_step=number("MARKET_LOT_SIZE", "stepSize") or qty_step,
        market_min_qty=number("MARKET_LOT_SIZE", "minQty"),
        market_max_qty=above_zero("MARKET_LOT_SIZE", "maxQty"),
        min_notional=number("MIN_NOTIONAL", "notional"),
        price_up=number("PERCENT_PRICE", "multiplierUp"),
        price_down=number("PERCENT_PRICE", "multiplierDown"),
        qty_precision=whole(row, "quantityPrecision"),
    )
