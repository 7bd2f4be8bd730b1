"""Orders and trades."""

from __future__ import annotations

from decimal import Decimal

from ..domain import refusals
from ..domain.orders import Order, OrderRequest
from ..domain.refusals import Refused
from ..domain.values import ZERO, OrderType, Side, TimeInForce
from . import shapes
from .auth import Right
from .endpoints import Call, Endpoint, with_and_without_symbol
from .params import Params

_CANCELLED = {"code": 200, "msg": "The operation of cancel all open order is done."}
_ON_ORDER = (OrderType.LIMIT, OrderType.MARKET)
_PREVENTIONS = ("EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")
_TEN_MINUTES_MS = 600_000


def check_position_side(call: Call) -> None:
    """One-way mode knows only BOTH. In hedge mode this exchange takes no orders at all."""
    side = call.params.optional_text("positionSide") or "BOTH"
    if side not in ("BOTH", "LONG", "SHORT"):
        raise Refused(-1116, "Invalid positionSide.")
    hedge = call.venue.exchange.books.account.hedge_mode
    if hedge == (side == "BOTH"):
        raise Refused(-4061, "Order's position side does not match user's setting.")
    if hedge:
        raise Refused(-4088, "User can not place order currently")


def check_prevention(params: Params) -> str:
    mode = params.optional_text("selfTradePreventionMode") or "EXPIRE_MAKER"
    if mode not in _PREVENTIONS:
        raise Refused(-5039, "Invalid self trade prevention mode")
    return mode


def _read_order(call: Call) -> OrderRequest:
    params = call.params
    symbol = call.symbol
    side = params.choice("side", Side, Refused(-1117, "Invalid side."))
    kind = params.choice("type", OrderType, refusals.invalid_type())
    if kind not in _ON_ORDER:
        raise refusals.conditional_on_order()
    check_position_side(call)
    if params.flag("closePosition"):
        raise Refused(-4136, f"Target strategy invalid for orderType {kind},closePosition true")
    if params.optional_text("priceMatch") not in ("", "NONE"):
        raise Refused(-5037, "Invalid price match")
    price, time_in_force, good_till_ms = _read_limit_terms(call, kind)
    return OrderRequest(
        symbol=symbol,
        side=side,
        type=kind,
        quantity=params.decimal("quantity"),
        price=price,
        time_in_force=time_in_force,
        reduce_only=params.flag("reduceOnly"),
        client_order_id=params.client_id("newClientOrderId"),
        good_till_ms=good_till_ms,
        self_trade_prevention=check_prevention(params),
    )


def _read_limit_terms(call: Call, kind: OrderType) -> tuple[Decimal, TimeInForce, int]:
    params = call.params
    if kind is OrderType.MARKET:
        for name in ("price", "timeInForce"):
            if params.get(name):
                raise refusals.not_required(name.lower())
        return ZERO, TimeInForce.GTC, 0
    refusal = Refused(-1115, "Invalid timeInForce.")
    time_in_force = params.choice("timeInForce", TimeInForce, refusal)
    if time_in_force is TimeInForce.GTE_GTC:
        raise refusal
    good_till_ms = 0
    if time_in_force is TimeInForce.GTD:
        good_till_ms = params.integer("goodTillDate")
        if good_till_ms <= call.now_ms + _TEN_MINUTES_MS:
            raise Refused(
                -5040,
                "The goodTillDate timestamp must be greater than the current time plus "
                "600 seconds and smaller than 253402300799000",
            )
    return params.decimal("price"), time_in_force, good_till_ms


def _wants_result(params: Params) -> bool:
    kind = params.optional_text("newOrderRespType") or "ACK"
    if kind not in ("ACK", "RESULT"):
        raise Refused(-1136, "Invalid newOrderRespType.")
    return kind == "RESULT"


def _place(call: Call) -> object:
    request = _read_order(call)
    shape = shapes.order_answer if _wants_result(call.params) else shapes.order_ack
    order = call.venue.exchange.engine.place(request, call.now_ms)
    return shape(order, call.venue.form(order.symbol), averages=call.venue.post_averages)


def _test(call: Call) -> object:
    """Everything is checked, nothing happens."""
    request = _read_order(call)
    engine = call.venue.exchange.engine
    order = Order(
        order_id=0,
        client_order_id=request.client_order_id or engine.new_client_id(),
        symbol=request.symbol,
        side=request.side,
        type=request.type,
        orig_qty=engine.check(request),
        price=request.price,
        time_in_force=request.time_in_force,
        reduce_only=request.reduce_only,
        close_position=False,
        good_till_ms=request.good_till_ms,
        self_trade_prevention=request.self_trade_prevention,
        actor=request.actor,
        created_ms=call.now_ms,
        updated_ms=call.now_ms,
    )
    return shapes.order_ack(order, call.venue.form(order.symbol), averages=True)


def _ids(params: Params) -> tuple[int | None, str]:
    order_id = params.optional_integer("orderId")
    client_order_id = params.optional_text("origClientOrderId")
    if order_id is None and not client_order_id:
        raise refusals.either_missing("orderId", "origClientOrderId")
    return order_id, client_order_id


def _query(call: Call) -> object:
    order = call.venue.exchange.engine.find(call.symbol, *_ids(call.params))
    return shapes.order_query(order, call.venue.form(order.symbol))


def _open_order(call: Call) -> object:
    order = call.venue.exchange.engine.find(call.symbol, *_ids(call.params))
    if not order.status.is_open:
        raise refusals.no_such_order()
    return shapes.order_query(order, call.venue.form(order.symbol))


def _cancel(call: Call) -> object:
    order_id, client_order_id = _ids(call.params)
    engine = call.venue.exchange.engine
    order = engine.cancel(call.symbol, order_id, client_order_id, call.now_ms)
    return shapes.order_answer(
        order, call.venue.form(order.symbol), averages=call.venue.post_averages
    )


def _open_orders(call: Call) -> object:
    orders = call.venue.exchange.books.orders.open_orders(call.optional_symbol)
    return [shapes.order_query(o, call.venue.form(o.symbol)) for o in orders]


def _all_orders(call: Call) -> object:
    limit = _limit(call.params)
    first_id = call.params.optional_integer("orderId") or 0
    start_ms, end_ms = _times(call)
    form = call.venue.form(call.symbol)
    orders = [
        order
        for order in call.venue.exchange.books.orders.all_orders(call.symbol)
        if order.order_id >= first_id and start_ms <= order.created_ms <= end_ms
    ]
    chosen = orders[:limit] if first_id else orders[-limit:]
    return [shapes.order_query(order, form) for order in chosen]


def _cancel_all(call: Call) -> object:
    call.venue.exchange.engine.cancel_all(call.symbol, call.now_ms)
    return _CANCELLED


def _countdown(call: Call) -> object:
    countdown_ms = call.params.integer("countdownTime")
    call.venue.exchange.start_countdown(call.symbol, countdown_ms, call.now_ms)
    return {"symbol": call.symbol, "countdownTime": str(countdown_ms)}


def _limit(params: Params) -> int:
    limit = params.optional_integer("limit")
    return 500 if limit is None else min(max(limit, 1), 1_000)


def _times(call: Call) -> tuple[int, int]:
    start_ms = call.params.optional_integer("startTime")
    end_ms = call.params.optional_integer("endTime")
    if start_ms is not None and end_ms is not None and start_ms > end_ms:
        raise Refused(-1023, "Start time is greater than end time.")
    return start_ms or 0, end_ms if end_ms is not None else call.now_ms + 1


def _trades(call: Call) -> object:
    params = call.params
    limit = _limit(params)
    from_id = params.optional_integer("fromId")
    order_id = params.optional_integer("orderId")
    if from_id is not None and (params.get("startTime") or params.get("endTime")):
        raise Refused(-1128, "Combination of optional parameters invalid.")
    start_ms, end_ms = _times(call)
    form = call.venue.form(call.symbol)
    trades = [
        item
        for item in call.venue.exchange.engine.trades
        if item.symbol == call.symbol
        and start_ms <= item.time_ms <= end_ms
        and item.trade_id >= (from_id or 0)
        and order_id in (None, item.order_id)
    ]
    chosen = trades[:limit] if from_id is not None else trades[-limit:]
    return [shapes.trade(item, form) for item in chosen]


ENDPOINTS = (
    Endpoint("POST", "/fapi/v1/order", Right.TRADE, 0, _place, is_order=True, changes=True),
    Endpoint("GET", "/fapi/v1/order", Right.READ, 1, _query),
    Endpoint("DELETE", "/fapi/v1/order", Right.TRADE, 1, _cancel, changes=True),
    Endpoint("POST", "/fapi/v1/order/test", Right.TRADE, 0, _test),
    Endpoint("GET", "/fapi/v1/openOrder", Right.READ, 1, _open_order),
    Endpoint(
        "GET", "/fapi/v1/openOrders", Right.READ, with_and_without_symbol(1, 40), _open_orders
    ),
    Endpoint("GET", "/fapi/v1/allOrders", Right.READ, 5, _all_orders),
    Endpoint("DELETE", "/fapi/v1/allOpenOrders", Right.TRADE, 1, _cancel_all, changes=True),
    Endpoint("POST", "/fapi/v1/countdownCancelAll", Right.TRADE, 10, _countdown, changes=True),
    Endpoint("GET", "/fapi/v1/userTrades", Right.READ, 5, _trades),
)
