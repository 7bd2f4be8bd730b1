"""Public data: time, rules, prices, candles; and what needs no more than a key."""

from __future__ import annotations

import secrets

from ..domain.candles import INTERVALS, MINUTE_MS
from ..domain.refusals import Refused
from ..domain.values import money
from .auth import Right
from .endpoints import Call, Endpoint, with_and_without_symbol
from .params import Params

_FUNDING_MS = 8 * 3_600_000
_LISTEN_KEY_LIFE_MS = 3_600_000


def _ping(_: Call) -> object:
    return {}


def _time(call: Call) -> object:
    return {"serverTime": call.now_ms}


def _exchange_info(call: Call) -> object:
    """Always the whole list: a `symbol` parameter is ignored, as on the real exchange."""
    return {
        **call.venue.exchange.market.info,
        "serverTime": call.now_ms,
        "rateLimits": call.venue.limiter.settings.as_rate_limits(),
    }


def _premium_of(call: Call, symbol: str) -> dict[str, object]:
    price = money(call.venue.exchange.books.marks[symbol])
    return {
        "symbol": symbol,
        "markPrice": price,
        "indexPrice": price,
        "estimatedSettlePrice": price,
        "lastFundingRate": "0.00010000",
        "interestRate": "0.00010000",
        "nextFundingTime": (call.now_ms // _FUNDING_MS + 1) * _FUNDING_MS,
        "time": call.now_ms,
    }


def _premium_index(call: Call) -> object:
    only = call.optional_symbol
    if only:
        return _premium_of(call, only)
    return [_premium_of(call, symbol) for symbol in call.venue.exchange.rules]


def _ticker_price(call: Call) -> object:
    only = call.optional_symbol
    symbols = [only] if only else list(call.venue.exchange.rules)
    marks = call.venue.exchange.books.marks
    rows = [
        {"symbol": s, "price": call.venue.form(s).price(marks[s]), "time": call.now_ms}
        for s in symbols
    ]
    return rows[0] if only else rows


def _klines(call: Call) -> object:
    """Volumes are zero: prices here move without trades."""
    minutes = INTERVALS.get(call.params.text("interval"))
    if minutes is None:
        raise Refused(-1120, "Invalid interval.")
    start_ms = call.params.optional_integer("startTime") or 0
    end_ms = call.params.optional_integer("endTime")
    limit = _kline_limit(call.params)
    form = call.venue.form(call.symbol)
    width_ms = minutes * MINUTE_MS
    rows = [
        [
            time,
            form.price(candle.open),
            form.price(candle.high),
            form.price(candle.low),
            form.price(candle.close),
            "0",
            time + width_ms - 1,
            "0",
            0,
            "0",
            "0",
            "0",
        ]
        for time, candle in call.venue.exchange.candles(call.symbol).read(
            minutes, 1_500, call.now_ms
        )
        if start_ms <= time and (end_ms is None or time <= end_ms)
    ]
    return rows[:limit] if start_ms else rows[-limit:]


def _kline_limit(params: Params) -> int:
    limit = params.optional_integer("limit")
    return 500 if limit is None else min(max(limit, 1), 1_500)


def _kline_weight(params: Params) -> int:
    text = params.optional_text("limit")
    limit = int(text) if text.isdecimal() and len(text) < 10 else 500
    for bound, weight in ((99, 1), (499, 2), (1_000, 5)):
        if limit <= bound:
            return weight
    return 10


def _trading_status(call: Call) -> object:
    """Nobody is locked here; a fault rule can answer otherwise."""
    symbol = call.optional_symbol
    return {"indicators": {symbol: []} if symbol else {}, "updateTime": call.now_ms}


def _order_limits(call: Call) -> object:
    limits = call.venue.limiter.settings.as_rate_limits()
    return [row for row in limits if row["rateLimitType"] == "ORDERS"]


def _new_listen_key(call: Call) -> object:
    """One key an account: asking again prolongs it."""
    keys = call.venue.listen_keys
    living = [key for key, until_ms in keys.items() if until_ms > call.now_ms]
    key = living[0] if living else secrets.token_hex(32)
    keys.clear()
    keys[key] = call.now_ms + _LISTEN_KEY_LIFE_MS
    return {"listenKey": key}


def _keep_listen_key(call: Call) -> object:
    if not any(until_ms > call.now_ms for until_ms in call.venue.listen_keys.values()):
        raise Refused(
            -1125,
            "This listenKey does not exist. "
            "Please use `POST /fapi/v1/listenKey` to recreate `listenKey`",
        )
    return _new_listen_key(call)


def _close_listen_key(call: Call) -> object:
    call.venue.listen_keys.clear()
    return {}


def _retired(path: str, successor: str) -> Endpoint:
    def refuse(_: Call) -> object:
        raise Refused(-5000, f"GET {path} is retired, please use GET {successor}")

    return Endpoint("GET", path, Right.NONE, 1, refuse)


ENDPOINTS = (
    Endpoint("GET", "/fapi/v1/ping", Right.NONE, 1, _ping),
    Endpoint("GET", "/fapi/v1/time", Right.NONE, 1, _time),
    Endpoint("GET", "/fapi/v1/exchangeInfo", Right.NONE, 1, _exchange_info),
    Endpoint(
        "GET", "/fapi/v1/premiumIndex", Right.NONE, with_and_without_symbol(1, 10), _premium_index
    ),
    Endpoint(
        "GET", "/fapi/v1/ticker/price", Right.NONE, with_and_without_symbol(1, 2), _ticker_price
    ),
    Endpoint(
        "GET", "/fapi/v2/ticker/price", Right.NONE, with_and_without_symbol(1, 2), _ticker_price
    ),
    Endpoint("GET", "/fapi/v1/klines", Right.NONE, _kline_weight, _klines),
    Endpoint(
        "GET",
        "/fapi/v1/apiTradingStatus",
        Right.READ,
        with_and_without_symbol(1, 10),
        _trading_status,
    ),
    Endpoint("GET", "/fapi/v1/rateLimit/order", Right.READ, 1, _order_limits),
    Endpoint("POST", "/fapi/v1/listenKey", Right.KEY, 1, _new_listen_key),
    Endpoint("PUT", "/fapi/v1/listenKey", Right.KEY, 1, _keep_listen_key),
    Endpoint("DELETE", "/fapi/v1/listenKey", Right.KEY, 1, _close_listen_key),
    _retired("/fapi/v1/positionRisk", "/fapi/v2/positionRisk"),
    _retired("/fapi/v1/account", "/fapi/v2/account"),
    _retired("/fapi/v1/balance", "/fapi/v2/balance"),
)
