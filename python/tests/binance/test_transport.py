"""What became of a write, told by a peer that keeps none of HTTP's promises."""

from __future__ import annotations

import gzip
import json
import logging
import socket
import time
import traceback
from decimal import Decimal
from urllib.parse import parse_qsl

import pytest

from quantum_exit.binance.client import Client
from quantum_exit.binance.clock import ExchangeClock
from quantum_exit.binance.errors import (
    Accepted,
    CredentialsMissing,
    ExchangeError,
    ExchangeUnreachable,
    NotSent,
    Outcome,
    ReadFailed,
    Refused,
    Unknown,
)
from quantum_exit.binance.model import OrderAck
from quantum_exit.binance.orders import stop_market
from quantum_exit.binance.signing import signature

from .peer import (
    API_KEY,
    API_SECRET,
    ORDER_ANSWER,
    ORDER_PARAMS,
    Conversation,
    Peer,
    Step,
    answer,
    answer_raw,
    close_after_reading,
    drip,
    http,
    make_client,
    reset_after_reading,
    silence,
)

OK = json.dumps(ORDER_ANSWER).encode()


def now_ms() -> int:
    return int(time.time() * 1000)


def send(client: Client) -> Outcome[OrderAck]:
    return client.send_order(client.sign_order(ORDER_PARAMS, now_ms()))


def orders_seen(peer: Peer) -> int:
    return sum(request.startswith(b"POST /fapi/v1/order ") for request in peer.requests)


def test_what_was_signed_is_what_arrives(peer: Peer) -> None:
    peer.script(answer(200, ORDER_ANSWER))
    client = make_client(peer.url)
    request = client.sign_order(ORDER_PARAMS, now_ms())
    assert isinstance(client.send_order(request), Accepted)
    head, _, body = peer.requests[0].partition(b"\r\n\r\n")
    assert body.decode() == request.body_or_query
    payload, _, sent_signature = body.decode().rpartition("&signature=")
    assert sent_signature == signature(API_SECRET, payload)
    assert dict(parse_qsl(payload)).items() >= ORDER_PARAMS.items()
    assert f"X-MBX-APIKEY: {API_KEY}".encode() in head
    assert b"application/x-www-form-urlencoded" in head


def test_a_query_arrives_as_it_was_signed(peer: Peer) -> None:
    """Characters that HTTP libraries like to encode anew."""
    client_id = "a/b:c.d_e-f"
    peer.script(answer(200, {**ORDER_ANSWER, "clientOrderId": client_id}))
    client = make_client(peer.url)
    request = client.sign_cancel("BTCUSDT", client_id, now_ms())
    assert isinstance(client.send_order(request), Accepted)
    target = peer.requests[0].split(b" ")[1].decode()
    assert target == f"/fapi/v1/order?{request.body_or_query}"
    payload, _, sent_signature = target.partition("?")[2].rpartition("&signature=")
    assert sent_signature == signature(API_SECRET, payload)


def test_a_connection_is_kept(peer: Peer) -> None:
    peer.script(answer(200, ORDER_ANSWER))
    client = make_client(peer.url)
    for _ in range(5):
        assert isinstance(send(client), Accepted)
    assert peer.connections == 1


CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + f"{len(OK[:20]):x}".encode() + b"\r\n" + OK[:20] + b"\r\n"
)  # fmt: skip

LOST: dict[str, Step] = {
    "reset": reset_after_reading,
    "closed": close_after_reading,
    "silence": silence,
    "cut in the status line": answer_raw(b"HTTP/1.1 20", then_close=True),
    "cut in the headers": answer_raw(b"HTTP/1.1 200 OK\r\nContent-Le", then_close=True),
    "cut in the body": answer_raw(http(200, OK[:-5], length=len(OK)), then_close=True),
    "cut between chunks": answer_raw(CHUNKED, then_close=True),
    "no HTTP": answer_raw(b"SSH-2.0-OpenSSH_9.2\r\n", then_close=True),
    "an HTML page": answer(502, b"<html>bad gateway</html>"),
    "no JSON": answer(200, b"<html>welcome</html>"),
    "broken gzip": answer_raw(http(200, b"no gzip at all", "Content-Encoding: gzip")),
    "a redirect": answer(307, b"", "Location: /fapi/v1/order"),
    "a retry later": answer(503, b"", "Retry-After: 0"),
    "another order": answer(200, {**ORDER_ANSWER, "clientOrderId": "somebody-else"}),
    "another symbol": answer(200, {**ORDER_ANSWER, "symbol": "ETHUSDT"}),
    "a negative length": answer_raw(http(200, b"", length=-1), then_close=True),
}


@pytest.mark.parametrize("how", sorted(LOST))
def test_a_lost_answer_is_unknown_and_never_sent_again(peer: Peer, how: str) -> None:
    peer.script(LOST[how])
    outcome = send(make_client(peer.url, timeout_s=0.4))
    assert isinstance(outcome, Unknown)
    assert orders_seen(peer) == 1
    assert peer.connections == 1


def test_a_body_that_drips_is_given_up(peer: Peer) -> None:
    """Every single read is quick enough, the whole would take minutes."""
    peer.script(drip(http(200, OK), pause_s=0.02))
    begun = time.monotonic()
    outcome = send(make_client(peer.url, timeout_s=0.5))
    assert isinstance(outcome, Unknown)
    assert time.monotonic() - begun < 4


def test_a_body_without_end_is_given_up(peer: Peer) -> None:
    def endless(talk: Conversation) -> None:
        talk.read()
        talk.sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(1000):
            talk.sock.sendall(b"x" * 1_000_000)

    peer.script(endless)
    outcome = send(make_client(peer.url))
    assert isinstance(outcome, Unknown)
    assert "too large" in outcome.reason


def test_a_small_body_that_unpacks_without_end_is_given_up(peer: Peer) -> None:
    bomb = gzip.compress(b" " * 200_000_000)
    peer.script(answer_raw(http(200, bomb, "Content-Encoding: gzip")))
    outcome = send(make_client(peer.url))
    assert isinstance(outcome, Unknown)
    assert "too large" in outcome.reason


def test_gzip_and_chunks_are_understood(peer: Peer) -> None:
    packed = gzip.compress(OK)
    peer.script(
        answer_raw(http(200, packed, "Content-Encoding: gzip")),
        answer_raw(CHUNKED + f"{len(OK[20:]):x}".encode() + b"\r\n" + OK[20:] + b"\r\n0\r\n\r\n"),
    )
    client = make_client(peer.url)
    assert isinstance(send(client), Accepted)
    assert isinstance(send(client), Accepted)
    assert peer.connections == 1


def test_what_is_left_of_a_lost_answer_is_not_the_next_one(peer: Peer) -> None:
    late = {**ORDER_ANSWER, "executedQty": "0.001"}

    def too_late(talk: Conversation) -> None:
        talk.read()
        talk.peer.released.wait(0.6)
        talk.sock.sendall(http(200, json.dumps(late).encode()))

    peer.script(too_late, answer(200, ORDER_ANSWER))
    client = make_client(peer.url, timeout_s=0.2)
    assert isinstance(send(client), Unknown)
    outcome = send(client)
    assert isinstance(outcome, Accepted)
    assert str(outcome.ack.executed_qty) == "0.010"


def test_an_idle_connection_that_was_closed_is_opened_anew(peer: Peer) -> None:
    closed: list[bool] = []

    def answer_and_close(talk: Conversation) -> None:
        talk.read()
        talk.sock.sendall(http(200, OK))
        talk.sock.close()
        closed.append(True)

    peer.script(answer_and_close, answer(200, ORDER_ANSWER))
    client = make_client(peer.url)
    assert isinstance(send(client), Accepted)
    while not closed:
        time.sleep(0.001)
    assert isinstance(send(client), Accepted)
    assert orders_seen(peer) == 2
    assert peer.connections == 2


def test_a_kept_connection_that_dies_in_the_moment_of_sending(peer: Peer) -> None:
    """The server lets the idle connection go just as the second order is under way."""
    peer.script(answer(200, ORDER_ANSWER), reset_after_reading, answer(200, ORDER_ANSWER))
    client = make_client(peer.url)
    assert isinstance(send(client), Accepted)
    assert isinstance(send(client), Unknown)
    assert orders_seen(peer) == 2
    assert isinstance(send(client), Accepted)


def test_refused_connection_was_never_sent(peer: Peer) -> None:
    client = make_client(peer.url)
    peer.close()
    outcome = send(client)
    assert isinstance(outcome, NotSent)
    assert "POST /fapi/v1/order" in outcome.reason


def test_unknown_host_was_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def no_such_host(*args: object, **kwargs: object) -> None:
        asked.append(args)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_host)
    assert isinstance(send(make_client("https://exchange.invalid")), NotSent)
    assert len(asked) == 1


def test_a_backlog_that_is_full_was_never_sent() -> None:
    """Nobody accepts: the connection itself times out."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        outcome = send(make_client(f"http://127.0.0.1:{address[1]}", timeout_s=0.3))
        for filler in fillers:
            filler.close()
    assert isinstance(outcome, NotSent)


def test_the_environment_cannot_redirect_it(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    peer.script(answer(200, ORDER_ANSWER))
    assert isinstance(send(make_client(peer.url)), Accepted)


def test_a_cookie_is_not_given_back(peer: Peer) -> None:
    peer.script(answer(200, ORDER_ANSWER, "Set-Cookie: a=b"))
    client = make_client(peer.url)
    send(client)
    send(client)
    assert b"ookie" not in peer.requests[1]


READ_FAULTS: dict[str, tuple[Step, type[ReadFailed]]] = {
    "reset": (reset_after_reading, ExchangeUnreachable),
    "silence": (silence, ExchangeUnreachable),
    "cut": (answer_raw(http(200, b"[]", length=9), then_close=True), ExchangeUnreachable),
    "HTML": (answer(502, b"<html>Request URL: /fapi?signature=x</html>"), ExchangeError),
    "no JSON": (answer(200, b"<html>"), ExchangeError),
    "wrong shape": (answer(200, {"a": 1}), ExchangeError),
    "refusal": (answer(401, {"code": -2015, "msg": "Invalid API-key"}), ExchangeError),
}


@pytest.mark.parametrize("how", sorted(READ_FAULTS))
def test_reads_raise_and_say_where(peer: Peer, how: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    step, expected = READ_FAULTS[how]
    peer.script(step)
    with pytest.raises(expected) as caught:
        make_client(peer.url, timeout_s=0.4).positions()
    assert "GET /fapi/v3/positionRisk" in str(caught.value)
    assert_no_secrets("".join(traceback.format_exception(caught.value)), caplog)


@pytest.mark.parametrize("how", sorted(LOST))
def test_no_secret_is_told_when_a_write_fails(
    peer: Peer, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    peer.script(LOST[how])
    client = make_client(peer.url, timeout_s=0.3)
    outcome = client.send_order(client.sign_cancel("BTCUSDT", "plan-1.1", now_ms()))
    assert_no_secrets(repr(outcome), caplog)
    peer.close()
    assert_no_secrets(repr(send(client)), caplog)


def assert_no_secrets(told: str, caplog: pytest.LogCaptureFixture) -> None:
    for canary in (API_KEY, API_SECRET, "signature=", "timestamp="):
        assert canary not in told
        assert canary not in caplog.text


def test_signed_requests_need_a_key(peer: Peer) -> None:
    client = make_client(peer.url, signed=False)
    with pytest.raises(CredentialsMissing, match="positionRisk"):
        client.positions()
    with pytest.raises(CredentialsMissing):
        client.sign_order(ORDER_PARAMS, now_ms())
    assert not peer.requests


def test_a_request_whose_window_has_passed_stays_here(peer: Peer) -> None:
    client = make_client(peer.url)
    request = client.sign_order(ORDER_PARAMS, now_ms() - 1500)
    assert isinstance(client.send_order(request), NotSent)
    assert not peer.requests


def test_without_a_clock_the_exchange_judges_the_window(peer: Peer) -> None:
    peer.script(answer(400, {"code": -1021, "msg": "outside of the recvWindow."}))
    client = make_client(peer.url, clock=ExchangeClock())
    outcome = client.send_order(client.sign_order(ORDER_PARAMS, now_ms() - 1500))
    assert isinstance(outcome, Refused)
    assert outcome.code == -1021


def test_send_knows_what_was_signed(peer: Peer) -> None:
    algo = {
        "algoId": 7,
        "clientAlgoId": "stop-1",
        "algoStatus": "NEW",
        "symbol": "BTCUSDT",
        "side": "SELL",
        "quantity": "0.010",
        "triggerPrice": "50000.00",
        "reduceOnly": True,
    }
    cancelled = {"algoId": 7, "clientAlgoId": "stop-1", "code": "200", "msg": "success"}
    peer.script(answer(200, ORDER_ANSWER), answer(200, algo), answer(200, cancelled))
    client = make_client(peer.url)
    params = stop_market("BTCUSDT", "SELL", Decimal("0.01"), Decimal("50000"), "stop-1")
    for request, method in (
        (client.sign_order(ORDER_PARAMS, now_ms()), b"POST"),
        (client.sign_algo_order(params, now_ms()), b"POST"),
        (client.sign_algo_cancel("stop-1", now_ms()), b"DELETE"),
    ):
        outcome = client.send(request)
        assert isinstance(outcome, Accepted)
        assert peer.requests[-1].startswith(method + b" " + request.path.encode())


def test_a_cancel_of_another_stop_is_not_ours(peer: Peer) -> None:
    peer.script(
        answer(200, {"algoId": 7, "clientAlgoId": "stop-2", "code": "200", "msg": "success"}),
        answer(200, {"algoId": 7, "clientAlgoId": "stop-1", "code": "201", "msg": "?"}),
    )
    client = make_client(peer.url)
    for _ in range(2):
        assert isinstance(client.send(client.sign_algo_cancel("stop-1", now_ms())), Unknown)
