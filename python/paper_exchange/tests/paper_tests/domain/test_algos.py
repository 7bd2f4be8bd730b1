"""Conditional orders: when they rest, when they trigger, and what they then do."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from paper_exchange.domain.algos import MAX_OPEN, Algo
from paper_exchange.domain.orders import OrderRequest
from paper_exchange.domain.refusals import Refused
from paper_exchange.domain.values import Actor, AlgoStatus, OrderType, Side, TimeInForce
from paper_exchange.exchange import Exchange

from .conftest import START_MS

Make = Callable[..., Exchange]


def stop(
    exchange: Exchange,
    trigger: str,
    *,
    side: str = "SELL",
    kind: str = "STOP_MARKET",
    quantity: str = "10",
    close: bool = False,
    client_id: str = "",
) -> Algo:
    return exchange.algos.place(
        Algo(
            algo_id=0,
            client_algo_id=client_id,
            symbol="AVAXUSDT",
            side=Side(side),
            type=OrderType(kind),
            quantity=Decimal(0) if close else Decimal(quantity),
            trigger_price=Decimal(trigger),
            price=Decimal(0),
            time_in_force=TimeInForce.GTE_GTC if close else TimeInForce.GTC,
            reduce_only=True,
            close_position=close,
            working_type="MARK_PRICE",
            price_protect=False,
            created_ms=START_MS,
            updated_ms=START_MS,
        )
    )


def hold(exchange: Exchange, quantity: int) -> None:
    side = Side.BUY if quantity > 0 else Side.SELL
    request = OrderRequest("AVAXUSDT", side, OrderType.MARKET, Decimal(abs(quantity)))
    exchange.engine.place(request, START_MS)


def amount(exchange: Exchange) -> Decimal:
    return exchange.books.account.position("AVAXUSDT").amount


@pytest.mark.parametrize(
    ("held", "side", "kind", "trigger", "before", "at"),
    [
        (10, "SELL", "STOP_MARKET", "28.000", "28.001", "28.000"),
        (10, "SELL", "TAKE_PROFIT_MARKET", "33.000", "32.999", "33.000"),
        (-10, "BUY", "STOP_MARKET", "33.000", "32.999", "33.500"),
        (-10, "BUY", "TAKE_PROFIT_MARKET", "28.000", "28.001", "27.500"),
    ],
)
def test_each_kind_triggers_on_its_side(
    make_exchange: Make, held: int, side: str, kind: str, trigger: str, before: str, at: str
) -> None:
    exchange = make_exchange()
    hold(exchange, held)
    algo = stop(exchange, trigger, side=side, kind=kind)
    exchange.set_price("AVAXUSDT", Decimal(before), START_MS + 1)
    assert algo.status is AlgoStatus.NEW
    exchange.set_price("AVAXUSDT", Decimal(at), START_MS + 2)
    assert algo.status is AlgoStatus.FINISHED
    assert algo.actual_price == Decimal(at)
    assert algo.trigger_ms == START_MS + 2
    assert amount(exchange) == 0


def test_close_position_takes_whatever_is_there(make_exchange: Make) -> None:
    exchange = make_exchange()
    hold(exchange, 10)
    algo = stop(exchange, "28.000", close=True)
    hold(exchange, 7)
    exchange.set_price("AVAXUSDT", Decimal(27), START_MS)
    assert amount(exchange) == 0
    assert exchange.engine.find("AVAXUSDT", algo.actual_order_id, "").orig_qty == 17


def test_what_closes_a_position_needs_one_and_ends_with_it(make_exchange: Make) -> None:
    exchange = make_exchange()
    with pytest.raises(Refused) as refusal:
        stop(exchange, "28.000", close=True)
    assert refusal.value.code == -4509
    hold(exchange, 10)
    closing = stop(exchange, "28.000", close=True)
    plain = stop(exchange, "28.000")
    exchange.close_behind_our_back("AVAXUSDT", Actor.HAND, START_MS)
    assert closing.status is AlgoStatus.EXPIRED
    assert plain.status is AlgoStatus.NEW


def test_one_of_a_kind_closes_the_position(make_exchange: Make) -> None:
    """Make-before-break fails with closePosition and works with reduceOnly and a quantity."""
    exchange = make_exchange()
    hold(exchange, 10)
    stop(exchange, "28.000", close=True)
    stop(exchange, "33.000", kind="TAKE_PROFIT_MARKET", close=True)
    for trigger, kind in (("29.000", "STOP_MARKET"), ("34.000", "TAKE_PROFIT_MARKET")):
        with pytest.raises(Refused) as refusal:
            stop(exchange, trigger, kind=kind, close=True)
        assert refusal.value.code == -4130
    first, second = stop(exchange, "28.500"), stop(exchange, "29.000")
    exchange.algos.cancel(first.algo_id, "", START_MS)
    assert second.status is AlgoStatus.NEW


def test_two_that_close_trigger_at_once(make_exchange: Make) -> None:
    exchange = make_exchange()
    hold(exchange, 10)
    closing, plain = stop(exchange, "28.000", close=True), stop(exchange, "28.500")
    exchange.set_price("AVAXUSDT", Decimal(27), START_MS)
    assert amount(exchange) == 0
    assert closing.status is AlgoStatus.FINISHED
    assert plain.status is AlgoStatus.REJECTED


def test_reduce_only_stop_of_a_flat_symbol_opens_nothing(make_exchange: Make) -> None:
    """It rests on, also without a position; triggered it is rejected."""
    exchange = make_exchange()
    algo = stop(exchange, "28.000")
    exchange.set_price("AVAXUSDT", Decimal(27), START_MS)
    assert algo.status is AlgoStatus.REJECTED
    assert algo.reject_reason == "ReduceOnly Order is rejected."
    assert amount(exchange) == 0


def test_a_stop_that_is_due_at_once_is_refused(make_exchange: Make) -> None:
    with pytest.raises(Refused) as refusal:
        stop(make_exchange(), "30.000")
    assert refusal.value.code == -2021


def test_ids_and_number(make_exchange: Make) -> None:
    exchange = make_exchange()
    stop(exchange, "28.000", client_id="one")
    with pytest.raises(Refused) as refusal:
        stop(exchange, "27.000", client_id="one")
    assert refusal.value.code == -4116
    exchange.algos.cancel(None, "one", START_MS)
    stop(exchange, "27.000", client_id="one")
    for _ in range(MAX_OPEN - 1):
        stop(exchange, "26.000")
    with pytest.raises(Refused) as refusal:
        stop(exchange, "26.000")
    assert refusal.value.code == -4045


def test_cancelling_what_is_not_open(make_exchange: Make) -> None:
    exchange = make_exchange()
    algo = stop(exchange, "28.000")
    exchange.algos.cancel(algo.algo_id, "", START_MS)
    for algo_id in (algo.algo_id, 1):
        with pytest.raises(Refused) as refusal:
            exchange.algos.cancel(algo_id, "", START_MS)
        assert refusal.value.code == -2011
