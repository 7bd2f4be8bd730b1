"""Round trips with the paper exchange, which keeps its own books of what it was sent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal

import pytest

from paper_exchange.testing import PaperExchange
from quantum_exit.binance.client import Client, ClientFactory
from quantum_exit.binance.errors import (
    Accepted,
    ExchangeError,
    Outcome,
    RateLimited,
    Refused,
    Unknown,
)
from quantum_exit.binance.filters import check_opening, reducing_quantity, trigger_price
from quantum_exit.binance.model import AlgoAck, AlgoNotFound, Credentials, OrderAck, OrderNotFound
from quantum_exit.binance.orders import market_order, stop_market

D = Decimal
SYMBOL = "BTCUSDT"


@pytest.fixture(scope="module")
def running() -> Iterator[PaperExchange]:
    with PaperExchange() as exchange:
        yield exchange


@pytest.fixture
def exchange(running: PaperExchange) -> PaperExchange:
    running.clear_faults()
    running.set_clock_offset(0)
    running.set_price(SYMBOL, "60000")
    running.set_position(SYMBOL, "0")
    return running


@pytest.fixture
def client(exchange: PaperExchange) -> Client:
    credentials = Credentials(exchange.api_key, exchange.secret_key)
    client = ClientFactory(credentials, exchange.base_url, timeout_s=1.0).make()
    client.sync_clock()
    return client


def now_ms(client: Client) -> int:
    return client.clock.earliest_ms(time.monotonic())


def order(
    client: Client, side: str, quantity: str, client_id: str, *, reduce_only: bool = False
) -> Outcome[OrderAck]:
    params = market_order(SYMBOL, side, D(quantity), client_id, reduce_only=reduce_only)
    return client.send_order(client.sign_order(params, now_ms(client)))


def test_open_look_and_close(exchange: PaperExchange, client: Client) -> None:
    rules = client.exchange_info()[SYMBOL]
    mark = client.mark_prices()[SYMBOL]
    assert check_opening(D("0.01"), rules, mark) is None
    opened = order(client, "BUY", "0.01", "trip-open")
    assert isinstance(opened, Accepted)
    assert opened.ack.status == "FILLED"
    assert opened.ack.executed_qty == D("0.01")
    (position,) = client.positions()
    assert (position.symbol, position.amount) == (SYMBOL, D("0.01"))
    assert client.symbol_configs()[SYMBOL].leverage >= 1
    assert client.query_order(SYMBOL, "trip-open") == opened.ack
    assert client.order_by_id(SYMBOL, opened.ack.order_id) == opened.ack
    trades = client.user_trades(SYMBOL, start_ms=opened.ack.update_time_ms)
    assert sum(t.qty for t in trades if t.order_id == opened.ack.order_id) == D("0.01")
    assert opened.ack.order_id in {o.order_id for o in client.all_orders(SYMBOL)}

    quantity = reducing_quantity(abs(position.amount), rules)
    assert isinstance(quantity, Decimal)
    closed = order(client, "SELL", str(quantity), "trip-close", reduce_only=True)
    assert isinstance(closed, Accepted)
    assert closed.ack.reduce_only
    assert exchange.position(SYMBOL) == 0
    assert [p for p in client.positions() if p.amount] == []


def test_account_reads(client: Client) -> None:
    assert client.dual_side() is False
    assert client.account().can_trade
    assert {b.asset for b in client.balances()} >= {"USDT"}
    assert client.open_orders() == []
    assert client.open_algo_orders(SYMBOL) == []
    assert client.max_leverages()[SYMBOL] >= 1
    assert client.leverage(SYMBOL, 5).leverage == 5
    assert client.symbol_configs()[SYMBOL].leverage == 5
    assert isinstance(client.api_trading_status(), list)
    assert len(client.klines(SYMBOL, "1m", 2)) <= 2
    client.ping()


def test_a_reduction_is_cut_to_the_position(exchange: PaperExchange, client: Client) -> None:
    exchange.set_position(SYMBOL, "0.004")
    outcome = order(client, "SELL", "0.01", "trip-cut", reduce_only=True)
    assert isinstance(outcome, Accepted)
    assert outcome.ack.executed_qty == D("0.004")
    flat = order(client, "SELL", "0.01", "trip-flat", reduce_only=True)
    assert isinstance(flat, Refused)
    assert flat.code == -2022


def test_a_market_without_liquidity_fills_in_part(exchange: PaperExchange, client: Client) -> None:
    exchange.set_position(SYMBOL, "0.01")
    exchange.set_liquidity(SYMBOL, "0.003")
    outcome = order(client, "SELL", "0.01", "trip-part", reduce_only=True)
    exchange.set_liquidity(SYMBOL, None)
    assert isinstance(outcome, Accepted)
    assert outcome.ack.final
    assert outcome.ack.executed_qty == D("0.003")


def test_answers_without_averages(exchange: PaperExchange, client: Client) -> None:
    exchange.set_post_averages(False)
    outcome = order(client, "BUY", "0.01", "trip-bare")
    exchange.set_post_averages(True)
    assert isinstance(outcome, Accepted)
    assert outcome.ack.avg_price is None
    looked_up = client.query_order(SYMBOL, "trip-bare")
    assert isinstance(looked_up, OrderAck)
    assert looked_up.avg_price is not None


@pytest.mark.parametrize(
    "rule", [{"drop": "after"}, {"answer": "503_unknown", "answer_when": "after"}]
)
def test_executed_but_not_answered(
    exchange: PaperExchange, client: Client, rule: dict[str, str]
) -> None:
    exchange.add_fault(method="POST", path="/fapi/v1/order", times=1, **rule)
    client_id = f"trip-lost-{len(rule)}"
    assert isinstance(order(client, "BUY", "0.01", client_id), Unknown)
    found = client.query_order(SYMBOL, client_id)
    assert isinstance(found, OrderAck)
    assert found.status == "FILLED"
    assert [o.client_order_id for o in exchange.orders()].count(client_id) == 1


def test_lost_before_it_was_executed(exchange: PaperExchange, client: Client) -> None:
    exchange.add_fault(method="POST", path="/fapi/v1/order", times=1, drop="before")
    assert isinstance(order(client, "BUY", "0.01", "trip-gone"), Unknown)
    assert client.query_order(SYMBOL, "trip-gone") == OrderNotFound(SYMBOL, "trip-gone")
    assert exchange.position(SYMBOL) == 0


def test_the_exchange_keeps_the_fence(exchange: PaperExchange, client: Client) -> None:
    """A request that arrives after its window is refused, without any help from here."""
    params = market_order(SYMBOL, "BUY", D("0.01"), "trip-late", reduce_only=False)
    request = client.sign_order(params, now_ms(client))
    exchange.set_clock_offset(1500)
    outcome = client.send_order(request)
    exchange.set_clock_offset(0)
    assert isinstance(outcome, Refused)
    assert outcome.code == -1021
    assert exchange.position(SYMBOL) == 0


@pytest.mark.parametrize("offset_ms", [-7_200_000, 7_200_000])
def test_an_exchange_in_another_time(
    exchange: PaperExchange, client: Client, offset_ms: int
) -> None:
    """Its clock is set while we run: reads recover by themselves, orders after them."""
    exchange.set_clock_offset(offset_ms)
    assert client.positions() == []
    least, most = client.clock.offset_ms(time.time() * 1000, time.monotonic())
    assert least <= offset_ms <= most
    assert isinstance(order(client, "BUY", "0.01", f"trip-time-{offset_ms}"), Accepted)


def test_a_protective_stop(exchange: PaperExchange, client: Client) -> None:
    exchange.set_position(SYMBOL, "0.01")
    rules = client.exchange_info()[SYMBOL]
    trigger = trigger_price(D("50000.123"), rules, below=True)
    assert isinstance(trigger, Decimal)
    params = stop_market(SYMBOL, "SELL", D("0.01"), trigger, "trip-stop")
    placed = client.send(client.sign_algo_order(params, now_ms(client)))
    assert isinstance(placed, Accepted)
    found = client.query_algo("trip-stop")
    assert isinstance(found, AlgoAck)
    assert (found.trigger_price, found.reduce_only) == (trigger, True)
    assert [a.client_algo_id for a in client.open_algo_orders(SYMBOL)] == ["trip-stop"]
    cancelled = client.send(client.sign_algo_cancel("trip-stop", now_ms(client)))
    assert isinstance(cancelled, Accepted)
    assert client.open_algo_orders(SYMBOL) == []
    assert client.query_algo("never-was") == AlgoNotFound("never-was")
    again = client.send(client.sign_algo_cancel("never-was", now_ms(client)))
    assert isinstance(again, Refused)


def test_a_wrong_secret(exchange: PaperExchange) -> None:
    wrong = Credentials(exchange.api_key, "not the secret")
    client = ClientFactory(wrong, exchange.base_url).make()
    with pytest.raises(ExchangeError) as caught:
        client.positions()
    assert caught.value.credentials_rejected


def test_a_key_that_may_only_read(exchange: PaperExchange) -> None:
    credentials = Credentials(exchange.read_api_key, exchange.read_secret_key)
    client = ClientFactory(credentials, exchange.base_url).make()
    assert client.positions() == []
    outcome = order(client, "BUY", "0.01", "trip-read")
    assert isinstance(outcome, Refused)
    assert outcome.code == -2015


def test_a_limit_is_obeyed() -> None:
    with PaperExchange(order_limit_10s=3) as exchange:
        credentials = Credentials(exchange.api_key, exchange.secret_key)
        client = ClientFactory(credentials, exchange.base_url).make()
        client.sync_clock()
        outcomes = [order(client, "BUY", "0.01", f"trip-{n}") for n in range(6)]
        assert [type(o) for o in outcomes] == [Accepted] * 3 + [RateLimited] * 3
        limited = outcomes[-1]
        assert isinstance(limited, RateLimited)
        assert 0 < limited.retry_after_s <= 10
        assert len(exchange.orders()) <= 4
        assert client.positions()
