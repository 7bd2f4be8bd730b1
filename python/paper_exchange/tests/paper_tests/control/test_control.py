"""The control API's own manners."""

from __future__ import annotations

import socket
import time

import pytest

from paper_exchange.testing import ControlClient, ControlRefused, PaperExchange

ORDER = {"symbol": "AVAXUSDT", "side": "BUY", "type": "MARKET", "quantity": "5"}


@pytest.mark.parametrize(
    ("method", "path", "body", "complaint"),
    [
        ("POST", "prices", {"NOSUCH": "1"}, "Invalid symbol"),
        ("POST", "prices", {"BTCUSDT": "dear"}, "must be a number"),
        ("POST", "prices", {"BTCUSDT": "-1"}, "above zero"),
        ("POST", "position", {"symbol": "AVAXUSDT", "amount": "0.5"}, "no multiple of the step"),
        ("POST", "position", {"symbol": "AVAXUSDT"}, "field 'amount' must be a number"),
        ("POST", "clock", {"offset": 1}, "'offset_ms' must be a number"),
        ("POST", "clock", {"offset_ms": 1, "zone": "UTC"}, "unknown field 'zone'"),
        ("POST", "limits", {"weight": 1}, "unknown field 'weight'"),
        ("POST", "replay/step", {"symbol": "AVAXUSDT"}, "no replay of AVAXUSDT"),
        ("DELETE", "faults?id=7", None, "no fault rule 7"),
    ],
)
def test_a_wrong_request_says_what_is_wrong(
    exchange: PaperExchange, method: str, path: str, body: object, complaint: str
) -> None:
    before = exchange.state()
    with pytest.raises(ControlRefused, match=complaint):
        exchange.call(method, path, body)
    after = exchange.state()
    assert {**after, "now_ms": 0} == {**before, "now_ms": 0}


def test_one_bad_price_sets_none(exchange: PaperExchange) -> None:
    with pytest.raises(ControlRefused):
        exchange.set_prices({"BTCUSDT": 1, "NOSUCH": 2})
    assert exchange.price("BTCUSDT") == 60_000


def test_the_journal_since_a_number(exchange: PaperExchange) -> None:
    exchange.signed("POST", "/fapi/v1/order", newClientOrderId="one", **ORDER)
    first = exchange.orders()[-1]
    exchange.signed("POST", "/fapi/v1/order", newClientOrderId="two", **ORDER)
    exchange.signed("DELETE", "/fapi/v1/allOpenOrders", symbol="AVAXUSDT")
    [second] = exchange.orders(since=first.seq)
    assert second.client_order_id == "two"
    everything = exchange.orders(since=first.seq, everything=True)
    assert [record.method for record in everything] == ["POST", "DELETE"]
    assert "signature" not in second.params
    assert [fill.client_order_id for fill in exchange.fills()] == ["one", "two"]


def test_journal_times_compare_with_this_process(exchange: PaperExchange) -> None:
    before_s = time.monotonic()
    exchange.signed("POST", "/fapi/v1/order", **ORDER)
    after_s = time.monotonic()
    [record] = exchange.orders()
    assert record.decided_at_s is not None
    assert before_s < record.arrived_at_s <= record.decided_at_s < after_s


def test_reset_forgets_everything_but_the_numbers(exchange: PaperExchange) -> None:
    exchange.signed("POST", "/fapi/v1/order", **ORDER)
    exchange.add_fault(path="/fapi/v1/time", answer="502_html")
    exchange.set_clock_offset(5_000)
    exchange.revoke_key(exchange.read_api_key)
    last = exchange.orders()[-1].seq
    last_trade = exchange.fills()[-1].trade_id
    exchange.reset()
    assert exchange.orders() == []
    assert exchange.fills() == []
    assert exchange.state()["positions"] == {}
    assert exchange.state()["wallets"] == {"USDT": "10000"}
    assert exchange.public("/fapi/v1/time").status == 200
    assert exchange.signed("GET", "/fapi/v3/balance", read_only=True).status == 200
    assert exchange.state()["offset_ms"] == 0
    exchange.signed("POST", "/fapi/v1/order", **ORDER)
    assert exchange.orders()[-1].seq > last
    assert exchange.fills()[-1].trade_id > last_trade


def test_deposits(exchange: PaperExchange) -> None:
    assert exchange.deposit("2500.5") == pytest.approx(12_500.5)
    assert exchange.deposit(-500) == pytest.approx(12_000.5)


def test_a_token_guards_the_control_api_alone() -> None:
    with PaperExchange(control_token="open-sesame") as exchange:
        assert exchange.state()["positions"] == {}
        with pytest.raises(ControlRefused, match="403"):
            ControlClient(exchange.base_url).state()
        with pytest.raises(ControlRefused, match="403"):
            ControlClient(exchange.base_url, "guess").reset()
        assert exchange.public("/fapi/v1/time").status == 200


def test_it_listens_on_loopback_only(exchange: PaperExchange) -> None:
    port = int(exchange.base_url.rpartition(":")[2])
    with socket.socket() as sock, pytest.raises(OSError, match="refused"):
        sock.connect(("127.0.0.2", port))
