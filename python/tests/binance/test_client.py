"""Reads, the clock behind them, and obedience to the exchange's limits."""

from __future__ import annotations

import json
import re
import threading
import time
from decimal import Decimal
from typing import Any

import pytest

from quantum_exit.binance.client import Client, ClientFactory
from quantum_exit.binance.clock import ExchangeClock
from quantum_exit.binance.errors import (
    Accepted,
    ExchangeError,
    ExchangeRateLimited,
    RateLimited,
)
from quantum_exit.binance.model import AlgoNotFound, Credentials, OrderAck, OrderNotFound
from quantum_exit.binance.rate import RateState

from .peer import ORDER_ANSWER, ORDER_PARAMS, Conversation, Peer, Step, answer, make_client

POSITIONS: list[Any] = []


class Time:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def server_time(ahead_ms: int = 0) -> Step:
    """Answers with the time at which it is asked."""

    def step(talk: Conversation) -> None:
        answer(200, {"serverTime": int(time.time() * 1000) + ahead_ms})(talk)

    return step


def paths(peer: Peer) -> list[str]:
    return [request.split(b" ")[1].partition(b"?")[0].decode() for request in peer.requests]


def send(client: Client) -> Any:
    return client.send_order(
        client.sign_order(ORDER_PARAMS, client.clock.earliest_ms(client.now_mono()))
    )


def test_the_first_signed_read_reads_the_clock(peer: Peer) -> None:
    peer.script(server_time(), server_time(), answer(200, POSITIONS))
    client = make_client(peer.url, clock=ExchangeClock())
    assert client.positions() == []
    assert client.positions() == []
    times, reads = ["/fapi/v1/time"] * 2, ["/fapi/v3/positionRisk"] * 2
    assert paths(peer) == times + reads
    offset = client.clock.offset_ms(time.time() * 1000, time.monotonic())
    assert offset[0] <= 0 <= offset[1] <= 1000


def test_an_old_clock_is_read_again(peer: Peer) -> None:
    tick = Time()
    peer.script(answer(200, POSITIONS))
    client = make_client(peer.url, monotonic=tick)
    client.positions()
    tick.now_s += 61
    peer.script(server_time(), server_time(), answer(200, POSITIONS))
    client.positions()
    assert paths(peer).count("/fapi/v1/time") == 2


def test_a_read_whose_time_was_wrong_is_signed_anew(peer: Peer) -> None:
    """This machine slept: its monotonic clock stood still, the exchange's did not."""
    refusal = answer(400, {"code": -1021, "msg": "Timestamp ... outside of the recvWindow."})
    hour_ms = 3_600_000
    peer.script(refusal, server_time(hour_ms), server_time(hour_ms), answer(200, POSITIONS))
    client = make_client(peer.url)
    begun_ms = int(time.time() * 1000)
    assert client.positions() == []
    signed_for_ms = int(re.findall(rb"timestamp=(\d+)", peer.requests[-1])[0])
    assert hour_ms - 2 <= signed_for_ms - begun_ms < hour_ms + 10_000


def test_a_read_whose_time_is_wrong_twice_fails(peer: Peer) -> None:
    refusal = answer(400, {"code": -1021, "msg": "m"})
    peer.script(refusal, server_time(), server_time(), refusal)
    with pytest.raises(ExchangeError) as caught:
        make_client(peer.url).positions()
    assert caught.value.code == -1021
    assert len(peer.requests) == 4


def test_nothing_is_sent_while_limited(peer: Peer) -> None:
    tick = Time()
    peer.script(
        answer(429, {"code": -1003, "msg": "Too many requests"}, "Retry-After: 7"),
        answer(200, ORDER_ANSWER),
    )
    client = make_client(peer.url, monotonic=tick)
    assert isinstance(send(client), RateLimited)
    outcome = send(client)
    assert outcome == RateLimited(429, None, outcome.msg, 7.0, False)
    with pytest.raises(ExchangeRateLimited) as caught:
        client.positions()
    assert caught.value.retry_after_s == 7.0
    assert len(peer.requests) == 1
    tick.now_s += 7.1
    assert isinstance(send(client), Accepted)


def test_a_ban_holds_for_every_client_of_the_process(peer: Peer) -> None:
    rate = RateState()
    peer.script(answer(418, {"code": -1003, "msg": "Way too many requests"}))
    first, second = make_client(peer.url, rate=rate), make_client(peer.url, rate=rate)
    with pytest.raises(ExchangeRateLimited) as caught:
        first.positions()
    assert caught.value.banned
    outcome = send(second)
    assert isinstance(outcome, RateLimited)
    assert outcome.banned
    assert len(peer.requests) == 1


def test_too_many_orders_does_not_stop_reads_and_cancels(peer: Peer) -> None:
    msg = "Too many new orders; current limit is 300 orders per 10 SECOND."
    peer.script(answer(429, {"code": -1015, "msg": msg}), answer(200, POSITIONS))
    client = make_client(peer.url)
    assert isinstance(send(client), RateLimited)
    assert client.positions() == []
    peer.script(answer(200, ORDER_ANSWER))
    cancel = client.sign_cancel("BTCUSDT", "plan-1.1", int(time.time() * 1000))
    assert isinstance(client.send_order(cancel), Accepted)
    assert isinstance(send(client), RateLimited)
    assert len(peer.requests) == 3


def test_a_short_pause_does_not_end_a_long_one() -> None:
    tick = Time()
    rate = RateState(tick)
    rate.pause(120, 418)
    rate.pause(1, 429)
    tick.now_s += 2
    pause = rate.paused(order=False)
    assert pause is not None
    assert pause.banned
    tick.now_s += 119
    assert rate.paused(order=True) is None


@pytest.mark.parametrize("header", ["X-MBX-USED-WEIGHT-1M", "x-mbx-used-weight-1m"])
def test_used_weight(peer: Peer, header: str) -> None:
    """Answers to orders report "-1" or 0, which say nothing."""
    tick = Time()
    peer.script(
        answer(200, POSITIONS, f"{header}: 77"),
        answer(200, ORDER_ANSWER, f"{header}: -1"),
        answer(200, ORDER_ANSWER, f"{header}: 0"),
    )
    client = make_client(peer.url, monotonic=tick)
    client.positions()
    send(client)
    send(client)
    assert client.rate.used_weight == 77
    tick.now_s += 61
    assert client.rate.used_weight == 0


def test_weight_is_counted_on_refusals_too(peer: Peer) -> None:
    refusal = {"code": -2015, "msg": "Invalid API-key"}
    peer.script(answer(401, refusal, "X-MBX-USED-WEIGHT-1M: 6"))
    client = make_client(peer.url)
    with pytest.raises(ExchangeError) as caught:
        client.positions()
    assert caught.value.credentials_rejected
    assert client.rate.used_weight == 6


def test_look_up_of_an_order(peer: Peer) -> None:
    peer.script(
        answer(200, ORDER_ANSWER),
        answer(400, {"code": -2013, "msg": "Order does not exist."}),
        answer(400, {"code": -1121, "msg": "Invalid symbol."}),
    )
    client = make_client(peer.url)
    found = client.query_order("BTCUSDT", "plan-1.1")
    assert isinstance(found, OrderAck)
    assert b"origClientOrderId=plan-1.1" in peer.requests[0]
    assert client.query_order("BTCUSDT", "gone") == OrderNotFound("BTCUSDT", "gone")
    with pytest.raises(ExchangeError):
        client.query_order("BTCUSDT", "plan-1.1")


def test_a_look_up_that_answers_about_another_order_is_no_answer(peer: Peer) -> None:
    peer.script(answer(200, ORDER_ANSWER))
    with pytest.raises(ExchangeError, match="another order"):
        make_client(peer.url).query_order("BTCUSDT", "plan-2.1")


def test_look_up_of_a_conditional_order(peer: Peer) -> None:
    peer.script(answer(400, {"code": -2013, "msg": "Order does not exist."}))
    assert make_client(peer.url).query_algo("stop-1") == AlgoNotFound("stop-1")


def test_market_reads(peer: Peer) -> None:
    mark = {"symbol": "BTCUSDT", "markPrice": "11793.63104562", "time": 1597370495002}
    kline = [1, "1", "2", "0.5", "1.5", "100", 59_999, "0", 3, "0", "0", "0"]
    peer.script(answer(200, [mark]), answer(200, [mark]), answer(200, [kline]))
    client = make_client(peer.url, signed=False)
    assert client.mark_prices() == {"BTCUSDT": Decimal("11793.63104562")}
    assert client.marks()["BTCUSDT"].time_ms == 1597370495002
    assert client.klines("BTCUSDT", "1m", 1)[0].close == Decimal("1.5")
    assert peer.requests[2].startswith(b"GET /fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=1 ")
    assert b"signature" not in b"".join(peer.requests)


def test_hedge_mode_and_leverage(peer: Peer) -> None:
    setting = {"leverage": 21, "maxNotionalValue": "1000000", "symbol": "BTCUSDT"}
    peer.script(
        answer(200, {"dualSidePosition": True}),
        answer(200, {"dualSidePosition": "true"}),
        answer(200, setting),
    )
    client = make_client(peer.url)
    assert client.dual_side() is True
    with pytest.raises(ExchangeError, match="dualSidePosition"):
        client.dual_side()
    assert client.leverage("BTCUSDT", 21).leverage == 21
    assert peer.requests[2].startswith(b"POST /fapi/v1/leverage HTTP")


def test_a_server_time_that_is_none(peer: Peer) -> None:
    bodies: list[Any] = [{"serverTime": "1"}, {"serverTime": 0}, {}, []]
    for bad in bodies:
        peer.script(answer(200, bad))
        with pytest.raises(ExchangeError):
            make_client(peer.url).server_time()


def test_clients_of_a_factory_work_side_by_side(peer: Peer) -> None:
    """One connection each; the clock is read once for all."""
    peer.script(server_time(), server_time(), answer(200, json.loads("[]")))
    factory = ClientFactory(Credentials("k", "s"), peer.url)
    factory.make().sync_clock()
    results: list[list[Any]] = []

    def work() -> None:
        client = factory.make()
        results.extend(client.positions() for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert results == [[]] * 80
    assert peer.connections == 5
    assert paths(peer).count("/fapi/v1/time") == 2


def test_ping_opens_the_connection_that_an_order_then_uses(peer: Peer) -> None:
    peer.script(answer(200, {}), answer(200, ORDER_ANSWER))
    client = make_client(peer.url)
    client.ping()
    assert isinstance(send(client), Accepted)
    assert peer.connections == 1


def test_look_up_by_number(peer: Peer) -> None:
    peer.script(answer(200, ORDER_ANSWER))
    client = make_client(peer.url)
    assert client.order_by_id("BTCUSDT", 22542179).client_order_id == "plan-1.1"
    assert b"orderId=22542179" in peer.requests[0]
    with pytest.raises(ExchangeError, match="another order"):
        client.order_by_id("BTCUSDT", 1)
