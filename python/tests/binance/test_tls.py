"""Over TLS: what fails before the first byte of an order is no order, and strangers get none."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator

import pytest

from quantum_exit.binance.client import Client
from quantum_exit.binance.errors import Accepted, NotSent, Outcome, Unknown
from quantum_exit.binance.model import OrderAck
from quantum_exit.binance.transport import tls_context

from .peer import (
    ORDER_ANSWER,
    ORDER_PARAMS,
    Conversation,
    Peer,
    Step,
    answer,
    close_after_reading,
    make_client,
    reset_after_reading,
    silence,
)


def send(client: Client) -> Outcome[OrderAck]:
    return client.send_order(client.sign_order(ORDER_PARAMS, int(time.time() * 1000)))


@pytest.mark.parametrize("step", [silence, reset_after_reading, close_after_reading])
def test_a_tls_handshake_that_fails_was_never_sent(peer: Peer, step: Step) -> None:
    """What reads like a lost answer to an order is a hello that nobody returned."""

    def on_any_bytes(talk: Conversation) -> None:
        talk.sock.recv(100)
        if step is silence:
            talk.peer.released.wait(10)
        elif step is reset_after_reading:
            talk.reset()
        talk.sock.close()

    peer.script(on_any_bytes)
    url = peer.url.replace("http:", "https:")
    assert isinstance(send(make_client(url, timeout_s=0.4)), NotSent)
    assert not peer.requests


@pytest.fixture
def tls_peer(
    certificate: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[bool], Peer]]:
    """A peer with a certificate for 127.0.0.1, trusted or not."""
    context, trust = certificate
    peer = Peer(context)

    def start(trusted: bool) -> Peer:
        if trusted:
            monkeypatch.setattr("quantum_exit.binance.transport.tls_context", lambda: trust)
        return peer

    yield start
    peer.close()


def test_over_tls(tls_peer: Callable[[bool], Peer]) -> None:
    peer = tls_peer(True)
    peer.script(answer(200, ORDER_ANSWER), answer(200, ORDER_ANSWER), reset_after_reading)
    client = make_client(peer.url)
    assert isinstance(send(client), Accepted)
    assert isinstance(send(client), Accepted)
    assert peer.connections == 1
    assert isinstance(send(client), Unknown)
    assert len(peer.requests) == 3


def test_a_certificate_that_is_not_trusted(tls_peer: Callable[[bool], Peer]) -> None:
    peer = tls_peer(False)
    peer.script(answer(200, ORDER_ANSWER))
    assert isinstance(send(make_client(peer.url)), NotSent)
    assert not peer.requests


def test_a_certificate_of_another_host(tls_peer: Callable[[bool], Peer]) -> None:
    peer = tls_peer(True)
    peer.script(answer(200, ORDER_ANSWER))
    assert isinstance(send(make_client(f"https://localhost:{peer.port}")), NotSent)
    assert not peer.requests


def test_the_shared_tls_context_verifies() -> None:
    context = tls_context()
    assert context is tls_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.cert_store_stats()["x509_ca"] > 50
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
