"""What each destination is sent, as it arrives."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quantum_exit.courier.config import from_environ
from quantum_exit.courier.destinations import Destination, configured
from quantum_exit.courier.http import NotDelivered
from quantum_exit.courier.masking import Mask
from quantum_exit.courier.taken import Taken

from .mailer import Mailer
from .receiver import Receiver

TOKEN = "0123456789abcdef"
KEY = "k" * 64


def alert(number: int = 1, **details: Any) -> Taken:
    told = details or {"symbol": "BTCUSDT", "why": "no stop"}
    kind = "UNPROTECTED_POSITION"
    return Taken(f"id-{number}", f"{number}-0", kind, "CRITICAL", 1_795_255_570.0, told, {})


def only(environ: Mapping[str, str], tmp_path: Path) -> Destination:
    common = {
        "REDIS_URL": "redis://alerts:password9@127.0.0.1/0",
        "ALERTS_STATE_DIRECTORY": str(tmp_path),
        "ALERTS_HOST_NAME": "exit-1",
    }
    config = from_environ({**common, **environ})
    [destination] = configured(config, Mask(config.secrets))
    return destination


def settings(name: str, receiver: Receiver) -> dict[str, str]:
    return {
        "discord": {"ALERTS_DISCORD_URL": f"{receiver.url}/api/webhooks/1/{TOKEN}"},
        "slack": {"ALERTS_SLACK_URL": f"{receiver.url}/services/T/B/{TOKEN}"},
        "telegram": {
            "ALERTS_TELEGRAM_API": receiver.url,
            "ALERTS_TELEGRAM_TOKEN": f"1:{TOKEN}",
            "ALERTS_TELEGRAM_CHAT": "-100",
        },
        "webhook": {
            "ALERTS_WEBHOOK_URL": f"{receiver.url}/hook/{TOKEN}",
            "ALERTS_WEBHOOK_AUTHORIZATION": "Bearer letmein99",
        },
    }[name]


CHATS = ("discord", "slack", "telegram")
WORDS = {"discord": "content", "slack": "text", "telegram": "text"}


@pytest.mark.parametrize("name", CHATS)
def test_a_chat_gets_what_is_wrong_where_and_since_when(
    name: str, receiver: Receiver, tmp_path: Path
) -> None:
    only(settings(name, receiver), tmp_path).send([alert()])
    text = receiver.got[0].document[WORDS[name]]
    for told in ("CRITICAL UNPROTECTED_POSITION BTCUSDT on exit-1", "why: no stop", "id: id-1"):
        assert told in text
    assert "2026-11-21" in text


@pytest.mark.parametrize("name", CHATS)
def test_many_are_one_message_in_order(name: str, receiver: Receiver, tmp_path: Path) -> None:
    only(settings(name, receiver), tmp_path).send([alert(n, n=n) for n in range(15)])
    [request] = receiver.got
    lines = request.document[WORDS[name]].splitlines()
    assert "15 alerts on exit-1" in lines[0]
    numbers = [line.rpartition("n ")[2] for line in lines if "UNPROTECTED" in line]
    assert numbers == [str(n) for n in range(15)]


@pytest.mark.parametrize(("name", "most"), [("discord", 2000), ("slack", 4000), ("telegram", 4096)])
def test_no_message_is_longer_than_its_receiver_takes(
    name: str, most: int, receiver: Receiver, tmp_path: Path
) -> None:
    destination = only(settings(name, receiver), tmp_path)
    destination.send([alert(**{f"field{n}": "x " * 250 for n in range(40)})])
    destination.send([alert(n, text="y " * 250) for n in range(15)])
    for request in receiver.got:
        text = request.document[WORDS[name]]
        assert len(text) <= most
    assert "cut" in receiver.got[0].document[WORDS[name]]


def test_texts_call_nobody_and_break_out_of_nothing(receiver: Receiver, tmp_path: Path) -> None:
    evil = alert(why="``` @everyone <!channel> <https://x|y> &amp;\n# big")
    only(settings("discord", receiver), tmp_path).send([evil])
    discord = receiver.got[0].document
    assert discord["allowed_mentions"] == {"parse": []}
    assert discord["content"].count("```") == 2
    only(settings("slack", receiver), tmp_path).send([evil])
    slack = receiver.got[1].document["text"]
    assert "<" not in slack
    assert slack.count("```") == 2


@pytest.mark.parametrize("name", [*CHATS, "webhook"])
def test_secrets_in_an_alert_are_masked(name: str, receiver: Receiver, tmp_path: Path) -> None:
    destination = only(settings(name, receiver), tmp_path)
    destination.send([alert(why=f"{TOKEN} {KEY} password9", secret="s3cr3t", nested=[{"a": KEY}])])
    text = str(receiver.got[0].document)
    for secret in (TOKEN, KEY, "password9", "s3cr3t"):
        assert secret not in text
    assert "***" in text


def test_the_webhook_gets_each_alert_whole(receiver: Receiver, tmp_path: Path) -> None:
    only(settings("webhook", receiver), tmp_path).send([alert(1), alert(2)])
    first, second = receiver.got
    assert first.headers["Authorization"] == "Bearer letmein99"
    assert (first.headers["Idempotency-Key"], second.headers["Idempotency-Key"]) == ("id-1", "id-2")
    assert first.document == {
        "alert_id": "id-1",
        "alert_type": "UNPROTECTED_POSITION",
        "severity": "CRITICAL",
        "timestamp": 1_795_255_570.0,
        "host": "exit-1",
        "details": {"symbol": "BTCUSDT", "why": "no stop"},
    }


def test_harmless_words_leave_nothing_that_could_be_refused(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.refuse_if = "poison"
    odd = replace(alert(why="poison"), extra={"more": "poison"})
    destination = only(settings("webhook", receiver), tmp_path)
    with pytest.raises(NotDelivered):
        destination.send([odd])
    destination.send([odd], harmless=True)
    assert receiver.ids() == ["id-1"]


def test_an_alert_names_no_other_host_than_this(receiver: Receiver, tmp_path: Path) -> None:
    more = {"host": "exit-2", "deny_count": "3"}
    only(settings("webhook", receiver), tmp_path).send([replace(alert(), extra=more)])
    [request] = receiver.got
    assert (request.document["host"], request.document["deny_count"]) == ("exit-1", "3")


@pytest.mark.parametrize(
    ("status", "refused"), [(400, True), (413, True), (401, False), (404, False), (500, False)]
)
def test_a_refusal_of_the_message_is_told_from_one_of_the_address(
    status: int, refused: bool, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.answers = [status]
    with pytest.raises(NotDelivered) as caught:
        only(settings("discord", receiver), tmp_path).send([alert()])
    assert (caught.value.refused, caught.value.reason) == (refused, f"HTTP {status}")


def test_a_redirect_is_not_followed(receiver: Receiver, tmp_path: Path) -> None:
    receiver.answers = [302]
    with pytest.raises(NotDelivered, match="HTTP 302"):
        only(settings("webhook", receiver), tmp_path).send([alert()])
    assert len(receiver.refused) == 1
    assert receiver.got == []


def test_a_redirect_to_nowhere_is_not_delivered(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: http://[x\r\nContent-Length: 0\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor() as pool:

        def answer_once() -> None:
            peer, _ = listening.accept()
            with peer:
                peer.recv(65_536)
                peer.sendall(answer)

        answering = pool.submit(answer_once)
        hook = f"http://127.0.0.1:{listening.getsockname()[1]}/{TOKEN}"
        with pytest.raises(NotDelivered):
            only({"ALERTS_WEBHOOK_URL": hook}, tmp_path).send([alert()])
        answering.result(10)


class Trickle:
    """A receiver that says yes a byte at a time: each wait for more of it is a short one."""

    def __init__(self, words: str, *lines: str, context: ssl.SSLContext | None = None) -> None:
        self._said = words.encode() + b"".join(f"{line}\r\n".encode() for line in lines)
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.trickled = 0
        self._given_up = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while not self._given_up.is_set():
            with contextlib.suppress(OSError), self._listening.accept()[0] as peer:
                if self._context is not None:  # the shaking of hands, and no more
                    self._context.wrap_socket(peer.dup(), server_side=True).detach()
                peer.sendall(self._said)
                while not self._given_up.wait(0.02):
                    peer.sendall(b"x")
                    self.trickled += 1

    def close(self) -> None:
        self._given_up.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bounds, for less patient people."""
    monkeypatch.setattr("quantum_exit.courier.http.ANSWER_S", 0.3)
    monkeypatch.setattr("quantum_exit.courier.http.CONNECT_S", 0.3)
    monkeypatch.setattr("quantum_exit.courier.destinations.MAIL_S", 0.6)


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("said", [(), ("HTTP/1.1 200 OK",), ("HTTP/1.1 200 OK", "X-Odd: ")])
def test_a_receiver_that_trickles_is_given_up(said: tuple[str, ...], tmp_path: Path) -> None:
    trickle = Trickle("", *said)
    try:
        hook = f"http://127.0.0.1:{trickle.port}/{TOKEN}"
        destination = only({"ALERTS_WEBHOOK_URL": hook}, tmp_path)
        for _ in range(2):  # nor is what is left of one answer the next one
            with pytest.raises(NotDelivered):
                destination.send([alert()])
    finally:
        trickle.close()


@pytest.mark.usefixtures("brief")
def test_nor_is_one_that_trickles_within_tls(
    certificate: tuple[ssl.SSLContext, ssl.SSLContext],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A record can be read only as a whole, so that a single read is many small ones."""
    context, trust = certificate
    monkeypatch.setattr("quantum_exit.binance.transport.tls_context", lambda: trust)
    trickle = Trickle("\x17\x03\x03\x40\x00", context=context)
    try:
        hook = f"https://127.0.0.1:{trickle.port}/{TOKEN}"
        with pytest.raises(NotDelivered):
            only({"ALERTS_WEBHOOK_URL": hook}, tmp_path).send([alert()])
        assert trickle.trickled, "it came as far as that"
    finally:
        trickle.close()


def test_a_yes_is_a_yes_however_slow_the_rest_of_it_is(tmp_path: Path) -> None:
    trickle = Trickle("", "HTTP/1.1 200 OK", "Content-Length: 1000000", "")
    try:
        hook = f"http://127.0.0.1:{trickle.port}/{TOKEN}"
        only({"ALERTS_WEBHOOK_URL": hook}, tmp_path).send([alert(1), alert(2)])
    finally:
        trickle.close()


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("said", ["", "220-"])
def test_a_mailer_that_trickles_is_given_up(said: str, tmp_path: Path) -> None:
    trickle = Trickle(said)
    try:
        environ = {"ALERTS_MAIL_TO": "a@x.org", "ALERTS_MAIL_HOST": f"127.0.0.1:{trickle.port}"}
        with pytest.raises(NotDelivered):
            only(environ, tmp_path).send([alert()])
    finally:
        trickle.close()


def test_what_an_address_holds_reaches_the_receiver(receiver: Receiver, tmp_path: Path) -> None:
    hook = f"http://me%40x:p%20w@127.0.0.1:{receiver.port}/hook/ä b?key=a b&c=%26"
    only({"ALERTS_WEBHOOK_URL": hook}, tmp_path).send([alert()])
    [request] = receiver.got
    assert request.path == "/hook/%C3%A4%20b?key=a%20b&c=%26"
    assert request.headers["Authorization"] == "Basic " + b64encode(b"me@x:p w").decode()
    assert request.headers["Host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("odd", ["a\nb", " a", "ä", "a: b\r\nX-Evil: 1"])
def test_an_id_of_any_kind_holds_up_nothing(odd: str, receiver: Receiver, tmp_path: Path) -> None:
    destination = only(settings("webhook", receiver), tmp_path)
    destination.send([replace(alert(), alert_id=odd)])
    [request] = receiver.got
    assert request.document["alert_id"] == odd
    assert "X-Evil" not in request.headers


def test_an_error_shows_no_url(receiver: Receiver, tmp_path: Path) -> None:
    destination = only(settings("webhook", receiver), tmp_path)
    receiver.stop()
    with pytest.raises(NotDelivered) as caught:
        destination.send([alert()])
    assert caught.value.reason == "ConnectionRefusedError"
    assert TOKEN not in str(caught.value)
    assert caught.value.__suppress_context__


def mail(mailer: Mailer, tmp_path: Path) -> Destination:
    environ = {
        "ALERTS_MAIL_TO": "night@example.com,day@example.com",
        "ALERTS_MAIL_HOST": f"127.0.0.1:{mailer.port}",
    }
    return only(environ, tmp_path)


def test_mail_goes_to_the_hosts_own_mailer(tmp_path: Path) -> None:
    mailer = Mailer()
    try:
        mail(mailer, tmp_path).send([alert(why="no stop\r\nBcc: x@example.com", symbol="A\nB")])
    finally:
        mailer.close()
    [message] = mailer.got
    assert message["To"] == "day@example.com, night@example.com"
    assert "CRITICAL UNPROTECTED_POSITION A B on exit-1" in message["Subject"]
    assert message["Bcc"] is None
    assert "id-1" in message["Message-ID"]
    body: Any = message.get_payload(decode=True)
    assert "why: no stop" in body.decode()


def test_a_mailer_that_refuses_has_not_delivered(tmp_path: Path) -> None:
    mailer = Mailer("451 later")
    try:
        with pytest.raises(NotDelivered, match="451"):
            mail(mailer, tmp_path).send([alert()])
    finally:
        mailer.close()
    with pytest.raises(NotDelivered, match="mailer: ConnectionRefusedError"):
        mail(mailer, tmp_path).send([alert()])
