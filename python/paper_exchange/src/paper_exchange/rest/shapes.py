"""The exchange's JSON objects for orders, trades and conditional orders.

Quantities and prices are strings, padded to the symbol's precision.
"""

from __future__ import annotations

from decimal import Decimal

from ..domain.algos import Algo
from ..domain.orders import Order, Trade
from ..domain.symbols import SymbolRules
from ..domain.values import ZERO, OrderStatus, Side, money, padded, to_eight


class SymbolFormat:
    """Writes numbers the way the exchange writes them for one symbol."""

    def __init__(self, rules: SymbolRules) -> None:
        self._price_places = rules.price_precision
        self._qty_places = rules.quantity_precision

    def qty(self, value: Decimal) -> str:
        return padded(value, self._qty_places)

    def price(self, value: Decimal) -> str:
        return padded(to_eight(value), self._price_places)

    def quote(self, value: Decimal) -> str:
        return padded(value, self._price_places + self._qty_places)


def plain(value: Decimal) -> str:
    """`0` for nothing, else eight decimals: so margins and notionals stand in position lists."""
    return money(value) if value else "0"


def _order_core(order: Order, form: SymbolFormat) -> dict[str, object]:
    return {
        "orderId": order.order_id,
        "symbol": order.symbol,
        "status": order.status.value,
        "clientOrderId": order.client_order_id,
        "price": form.price(order.price),
        "avgPrice": form.price(order.average_price),
        "origQty": form.qty(order.orig_qty),
        "executedQty": form.qty(order.executed_qty),
        "cumQuote": form.quote(order.cum_quote),
        "timeInForce": order.time_in_force.value,
        "type": order.type.value,
        "reduceOnly": order.reduce_only,
        "closePosition": order.close_position,
        "side": order.side.value,
        "positionSide": "BOTH",
        "stopPrice": form.price(ZERO),
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": order.type.value,
        "priceMatch": "NONE",
        "selfTradePreventionMode": order.self_trade_prevention,
        "goodTillDate": order.good_till_ms,
        "updateTime": order.updated_ms,
    }


def order_query(order: Order, form: SymbolFormat) -> dict[str, object]:
    """GET order, openOrder, openOrders, allOrders."""
    return {**_order_core(order, form), "time": order.created_ms}


def order_answer(order: Order, form: SymbolFormat, *, averages: bool) -> dict[str, object]:
    """POST and DELETE order. Without `averages` avgPrice and cumQuote are left out."""
    body = {**_order_core(order, form), "cumQty": form.qty(order.executed_qty)}
    return body if averages else _without_averages(body)


def order_ack(order: Order, form: SymbolFormat, *, averages: bool) -> dict[str, object]:
    """POST with the default response type: the order as it was before it was matched."""
    body = {
        **_order_core(order, form),
        "status": OrderStatus.NEW.value,
        "avgPrice": form.price(ZERO),
        "executedQty": form.qty(ZERO),
        "cumQty": form.qty(ZERO),
        "cumQuote": form.quote(ZERO),
        "updateTime": order.created_ms,
    }
    return body if averages else _without_averages(body)


def _without_averages(body: dict[str, object]) -> dict[str, object]:
    return {k: v for k, v in body.items() if k not in ("avgPrice", "cumQuote")}


def trade(item: Trade, form: SymbolFormat) -> dict[str, object]:
    return {
        "buyer": item.side is Side.BUY,
        "commission": money(item.commission),
        "commissionAsset": item.commission_asset,
        "id": item.trade_id,
        "maker": item.maker,
        "orderId": item.order_id,
        "price": form.price(item.price),
        "qty": form.qty(item.qty),
        "quoteQty": form.quote(item.quote_qty),
        "realizedPnl": money(item.realized_pnl),
        "side": item.side.value,
        "positionSide": "BOTH",
        "symbol": item.symbol,
        "time": item.time_ms,
    }


def _algo_core(algo: Algo, form: SymbolFormat) -> dict[str, object]:
    return {
        "algoId": algo.algo_id,
        "clientAlgoId": algo.client_algo_id,
        "algoType": "CONDITIONAL",
        "orderType": algo.type.value,
        "symbol": algo.symbol,
        "side": algo.side.value,
        "positionSide": "BOTH",
        "timeInForce": algo.time_in_force.value,
        "quantity": form.qty(algo.quantity),
        "algoStatus": algo.status.value,
        "triggerPrice": form.price(algo.trigger_price),
        "price": form.price(algo.price),
        "icebergQuantity": None,
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "workingType": algo.working_type,
        "priceMatch": "NONE",
        "closePosition": algo.close_position,
        "priceProtect": algo.price_protect,
        "reduceOnly": algo.reduce_only,
        "createTime": algo.created_ms,
        "updateTime": algo.updated_ms,
        "triggerTime": algo.trigger_ms,
        "goodTillDate": 0,
    }


def algo_answer(algo: Algo, form: SymbolFormat) -> dict[str, object]:
    return {**_algo_core(algo, form), "activatePrice": "", "callbackRate": ""}


def algo_query(algo: Algo, form: SymbolFormat) -> dict[str, object]:
    zero = form.price(ZERO)
    return {
        **_algo_core(algo, form),
        "actualOrderId": str(algo.actual_order_id) if algo.actual_order_id else "",
        "actualPrice": form.price(algo.actual_price),
        "tpTriggerPrice": zero,
        "tpPrice": zero,
        "slTriggerPrice": zero,
        "slPrice": zero,
        "tpOrderType": "",
    }
