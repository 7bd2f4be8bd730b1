"""Conditional orders."""

from __future__ import annotations

from decimal import Decimal

from ..domain import refusals
from ..domain.algos import SUPPORTED, Algo
from ..domain.refusals import Refused
from ..domain.values import ZERO, OrderType, Side, TimeInForce
from . import shapes
from .auth import Right
from .endpoints import Call, Endpoint, with_and_without_symbol
from .order_routes import check_position_side, check_prevention
from .params import Params

_CANCELLED = {"code": 200, "msg": "The operation of cancel all open order is done."}
_WORKING_TYPES = ("MARK_PRICE", "CONTRACT_PRICE")


def _read_algo(call: Call) -> Algo:
    params = call.params
    if params.text("algoType") != "CONDITIONAL":
        raise refusals.invalid_data("algoType")
    symbol = call.symbol
    kind = params.choice("type", OrderType, refusals.invalid_type())
    if kind not in SUPPORTED:
        raise refusals.invalid_type()
    check_position_side(call)
    check_prevention(params)
    close_position = params.flag("closePosition")
    if close_position and params.get("reduceOnly"):
        raise refusals.not_required("reduceonly")
    working_type = params.optional_text("workingType") or "CONTRACT_PRICE"
    if working_type not in _WORKING_TYPES:
        raise Refused(-4031, f"Invalid parameter working type: {working_type}")
    market = kind in (OrderType.STOP_MARKET, OrderType.TAKE_PROFIT_MARKET)
    return Algo(
        algo_id=0,
        client_algo_id=params.client_id("clientAlgoId"),
        symbol=symbol,
        side=params.choice("side", Side, Refused(-1117, "Invalid side.")),
        type=kind,
        quantity=_quantity(params, close_position=close_position),
        trigger_price=params.decimal("triggerPrice"),
        price=ZERO if market else params.decimal("price"),
        time_in_force=_time_in_force(params, close_position=close_position),
        reduce_only=close_position or params.flag("reduceOnly"),
        close_position=close_position,
        working_type=working_type,
        price_protect=params.flag("priceProtect"),
        created_ms=call.now_ms,
        updated_ms=call.now_ms,
    )


def _quantity(params: Params, *, close_position: bool) -> Decimal:
    if close_position:
        return params.optional_decimal("quantity") or ZERO
    return params.decimal("quantity")


def _time_in_force(params: Params, *, close_position: bool) -> TimeInForce:
    """An order that closes the position always ends with it."""
    refusal = Refused(-1115, "Invalid timeInForce.")
    given = TimeInForce.GTC
    if params.get("timeInForce"):
        given = params.choice("timeInForce", TimeInForce, refusal)
    return TimeInForce.GTE_GTC if close_position else given


def _place(call: Call) -> object:
    algo = call.venue.exchange.algos.place(_read_algo(call))
    return shapes.algo_answer(algo, call.venue.form(algo.symbol))


def _ids(params: Params) -> tuple[int | None, str]:
    algo_id = params.optional_integer("algoId")
    client_algo_id = params.optional_text("clientAlgoId")
    if algo_id is None and not client_algo_id:
        raise refusals.either_missing("algoId", "clientAlgoId")
    return algo_id, client_algo_id


def _query(call: Call) -> object:
    algo = call.venue.exchange.algos.find(*_ids(call.params))
    if algo is None:
        raise refusals.no_such_order()
    return shapes.algo_query(algo, call.venue.form(algo.symbol))


def _cancel(call: Call) -> object:
    algo_id, client_algo_id = _ids(call.params)
    algo = call.venue.exchange.algos.cancel(algo_id, client_algo_id, call.now_ms)
    return {
        "algoId": algo.algo_id,
        "clientAlgoId": algo.client_algo_id,
        "code": "200",
        "msg": "success",
    }


def _cancel_all(call: Call) -> object:
    call.venue.exchange.algos.cancel_all(call.symbol, call.now_ms)
    return _CANCELLED


def _open(call: Call) -> object:
    algos = call.venue.exchange.algos.open_algos(call.optional_symbol)
    wanted = call.params.optional_integer("algoId")
    return [
        shapes.algo_query(a, call.venue.form(a.symbol))
        for a in algos
        if wanted in (None, a.algo_id)
    ]


def _all(call: Call) -> object:
    limit = call.params.optional_integer("limit")
    algos = call.venue.exchange.algos.all_algos(call.symbol)
    form = call.venue.form(call.symbol)
    return [shapes.algo_query(a, form) for a in algos[-min(limit or 500, 1_000) :]]


ENDPOINTS = (
    Endpoint("POST", "/fapi/v1/algoOrder", Right.TRADE, 0, _place, is_order=True, changes=True),
    Endpoint("GET", "/fapi/v1/algoOrder", Right.READ, 1, _query),
    Endpoint("DELETE", "/fapi/v1/algoOrder", Right.TRADE, 1, _cancel, changes=True),
    Endpoint("DELETE", "/fapi/v1/algoOpenOrders", Right.TRADE, 1, _cancel_all, changes=True),
    Endpoint("GET", "/fapi/v1/openAlgoOrders", Right.READ, with_and_without_symbol(1, 40), _open),
    Endpoint("GET", "/fapi/v1/allAlgoOrders", Right.READ, 5, _all),
)
