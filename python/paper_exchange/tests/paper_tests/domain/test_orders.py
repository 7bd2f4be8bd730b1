"""Which orders are accepted, and as what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from paper_exchange.domain.orders import Order, OrderRequest
from paper_exchange.domain.refusals import Refused
from paper_exchange.domain.values import Actor, OrderStatus, OrderType, Side, TimeInForce
from paper_exchange.exchange import Exchange

from .conftest import START_MS

Make = Callable[..., Exchange]


def market(
    exchange: Exchange, side: str, quantity: str, symbol: str = "AVAXUSDT", **more: Any
) -> Order:
    request = OrderRequest(symbol, Side(side), OrderType.MARKET, Decimal(quantity), **more)
    return exchange.engine.place(request, START_MS)


def limit(exchange: Exchange, side: str, quantity: str, price: str, **more: Any) -> Order:
    request = OrderRequest(
        "AVAXUSDT", Side(side), OrderType.LIMIT, Decimal(quantity), price=Decimal(price), **more
    )
    return exchange.engine.place(request, START_MS)


def amount(exchange: Exchange, symbol: str = "AVAXUSDT") -> Decimal:
    return exchange.books.account.position(symbol).amount


@pytest.mark.parametrize(
    ("quantity", "code"),
    [
        ("0", -4003),
        ("0.0005", -1111),
        ("1.5", -1111),
        ("0.0010", -1111),
        ("121", -4005),
        ("0.001", -4164),
        ("50", -2019),
    ],
)
def test_a_quantity_the_filters_refuse(make_exchange: Make, quantity: str, code: int) -> None:
    exchange = make_exchange()
    symbol = "AVAXUSDT" if quantity == "1.5" else "BTCUSDT"
    with pytest.raises(Refused) as refusal:
        market(exchange, "BUY", quantity, symbol)
    assert refusal.value.code == code
    assert amount(exchange, symbol) == 0


def test_a_quantity_off_the_step_but_within_the_precision(make_exchange: Make) -> None:
    exchange = make_exchange()
    rules = exchange.rules["BTCUSDT"]
    coarse = type(rules.lot)(rules.lot.min_qty, rules.lot.max_qty, Decimal("0.005"))
    exchange.books.rules = {"BTCUSDT": replace(rules, lot=coarse)}
    with pytest.raises(Refused) as refusal:
        market(exchange, "BUY", "0.008", "BTCUSDT")
    assert refusal.value.code == -4023


def test_a_quantity_below_the_least(make_exchange: Make) -> None:
    exchange = make_exchange()
    rules = exchange.rules["BTCUSDT"]
    large = type(rules.lot)(Decimal("0.010"), rules.lot.max_qty, rules.lot.step)
    exchange.books.rules = {"BTCUSDT": replace(rules, market_lot=large)}
    with pytest.raises(Refused) as refusal:
        market(exchange, "BUY", "0.009", "BTCUSDT")
    assert refusal.value.code == -4004


def test_the_position_limit_of_the_leverage(make_exchange: Make) -> None:
    exchange = make_exchange("100000000")
    exchange.set_leverage("AVAXUSDT", 75)
    with pytest.raises(Refused) as refusal:
        market(exchange, "BUY", "200")
    assert refusal.value.code == -2027
    exchange.set_leverage("AVAXUSDT", 50)
    assert market(exchange, "BUY", "200").status is OrderStatus.FILLED


def test_reduce_only_is_cut_to_the_position(make_exchange: Make) -> None:
    exchange = make_exchange()
    market(exchange, "BUY", "10")
    order = market(exchange, "SELL", "25", reduce_only=True)
    assert (order.orig_qty, order.executed_qty) == (10, 10)
    assert amount(exchange) == 0


@pytest.mark.parametrize(("held", "side"), [(0, "SELL"), (0, "BUY"), (10, "BUY"), (-10, "SELL")])
def test_reduce_only_without_anything_to_reduce(make_exchange: Make, held: int, side: str) -> None:
    exchange = make_exchange()
    if held:
        market(exchange, "BUY" if held > 0 else "SELL", str(abs(held)))
    with pytest.raises(Refused) as refusal:
        market(exchange, side, "5", reduce_only=True)
    assert refusal.value.code == -2022
    assert amount(exchange) == held


def test_reduce_only_may_be_smaller_than_the_minimum_notional(make_exchange: Make) -> None:
    exchange = make_exchange()
    market(exchange, "BUY", "0.002", "BTCUSDT")
    order = market(exchange, "SELL", "0.001", "BTCUSDT", reduce_only=True)
    assert order.status is OrderStatus.FILLED


def test_an_opposite_order_without_reduce_only_flips_and_obeys_the_minimum(
    make_exchange: Make,
) -> None:
    exchange = make_exchange()
    market(exchange, "BUY", "10")
    market(exchange, "SELL", "25")
    assert amount(exchange) == -15
    exchange = make_exchange()
    market(exchange, "BUY", "0.002", "BTCUSDT")
    with pytest.raises(Refused) as refusal:
        market(exchange, "SELL", "0.001", "BTCUSDT")
    assert refusal.value.code == -4164


def test_resting_reduce_only_orders_that_cover_the_position(make_exchange: Make) -> None:
    exchange = make_exchange()
    market(exchange, "BUY", "10")
    limit(exchange, "SELL", "6", "31.000", reduce_only=True)
    assert market(exchange, "SELL", "10", reduce_only=True).orig_qty == 4
    with pytest.raises(Refused) as refusal:
        market(exchange, "SELL", "1", reduce_only=True)
    assert refusal.value.code == -4118


def test_resting_reduce_only_orders_end_with_the_position(make_exchange: Make) -> None:
    exchange = make_exchange()
    market(exchange, "BUY", "10")
    resting = limit(exchange, "SELL", "6", "31.000", reduce_only=True)
    exchange.close_behind_our_back("AVAXUSDT", Actor.HAND, START_MS)
    assert resting.status is OrderStatus.EXPIRED


def test_an_id_is_unique_among_open_orders_only(make_exchange: Make) -> None:
    exchange = make_exchange()
    limit(exchange, "BUY", "5", "29.000", client_order_id="one")
    with pytest.raises(Refused) as refusal:
        market(exchange, "BUY", "5", client_order_id="one")
    assert refusal.value.code == -4116
    exchange.engine.cancel("AVAXUSDT", None, "one", START_MS)
    market(exchange, "BUY", "5", client_order_id="one")
    market(exchange, "BUY", "5", client_order_id="one")
    assert amount(exchange) == 10
    newest = exchange.engine.find("AVAXUSDT", None, "one")
    assert newest.order_id == exchange.engine.last_order_id


def test_limit_orders_rest_and_fill_when_the_price_comes(make_exchange: Make) -> None:
    exchange = make_exchange()
    order = limit(exchange, "BUY", "5", "29.000")
    exchange.set_price("AVAXUSDT", Decimal("29.001"), START_MS)
    assert order.status is OrderStatus.NEW
    exchange.set_price("AVAXUSDT", Decimal("28.500"), START_MS)
    assert order.status is OrderStatus.FILLED
    assert order.average_price == Decimal("29.000")
    assert exchange.engine.trades[-1].maker


@pytest.mark.parametrize(
    ("time_in_force", "price", "result"),
    [
        ("GTX", "31.000", -5022),
        ("FOK", "29.000", -5021),
        ("IOC", "29.000", OrderStatus.EXPIRED),
        ("IOC", "31.000", OrderStatus.FILLED),
        ("FOK", "31.000", OrderStatus.FILLED),
        ("GTX", "29.000", OrderStatus.NEW),
    ],
)
def test_times_in_force(
    make_exchange: Make, time_in_force: str, price: str, result: object
) -> None:
    exchange = make_exchange()
    try:
        outcome: object = limit(
            exchange, "BUY", "5", price, time_in_force=TimeInForce(time_in_force)
        ).status
    except Refused as refusal:
        outcome = refusal.code
    assert outcome == result


@pytest.mark.parametrize(
    ("price", "code"),
    [("30.00055", -1111), ("0.100", -4013), ("9000.000", -4002), ("36.000", -4016)],
)
def test_prices_the_filters_refuse(make_exchange: Make, price: str, code: int) -> None:
    with pytest.raises(Refused) as refusal:
        limit(make_exchange(), "BUY", "5", price)
    assert refusal.value.code == code


def test_slippage_goes_against_the_order(make_exchange: Make) -> None:
    exchange = make_exchange(slippage=Decimal("0.001"))
    assert market(exchange, "BUY", "5").average_price == Decimal("30.030")
    assert market(exchange, "SELL", "5").average_price == Decimal("29.970")


def test_what_the_other_side_does_not_take_expires(make_exchange: Make) -> None:
    exchange = make_exchange()
    exchange.engine.liquidity["AVAXUSDT"] = Decimal(3)
    order = market(exchange, "BUY", "5")
    assert (order.status, order.executed_qty) == (OrderStatus.EXPIRED, 3)
    assert market(exchange, "BUY", "5").executed_qty == 0


def test_a_fall_liquidates_what_the_margin_no_longer_carries(make_exchange: Make) -> None:
    exchange = make_exchange("100")
    market(exchange, "BUY", "60")
    exchange.set_price("AVAXUSDT", Decimal("28.50"), START_MS)
    assert amount(exchange) == 60
    exchange.set_price("AVAXUSDT", Decimal("28.48"), START_MS)
    assert amount(exchange) == 0
    last = exchange.engine.trades[-1]
    assert last.actor is Actor.LIQUIDATION
    assert last.client_order_id.startswith("autoclose-")


def test_leverage_within_the_brackets(make_exchange: Make) -> None:
    exchange = make_exchange()
    for wrong in (0, 126):
        with pytest.raises(Refused) as refusal:
            exchange.set_leverage("BTCUSDT", wrong)
        assert refusal.value.code == -4028
    exchange.set_leverage("BTCUSDT", 125)
    assert exchange.max_notional("BTCUSDT") == 50_000


def test_the_countdown_cancels_unless_it_is_fed(make_exchange: Make) -> None:
    exchange = make_exchange()
    order = limit(exchange, "BUY", "5", "29.000")
    exchange.start_countdown("AVAXUSDT", 1_000, START_MS)
    exchange.tick(START_MS + 999)
    exchange.start_countdown("AVAXUSDT", 1_000, START_MS + 999)
    exchange.tick(START_MS + 1_500)
    assert order.status is OrderStatus.NEW
    exchange.tick(START_MS + 1_999)
    assert order.status is OrderStatus.CANCELED
