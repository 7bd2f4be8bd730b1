"""Where alerts go: each destination takes one message and says yes, or raises.

These are five small requests, over the transport that is there anyway. What a general
notification library hides is what an alert depends on: the status (is it the message or the
address that is refused?), Retry-After, and that one message is one request within a bounded
time. The plain webhook leads to everything else, such as a gateway of one's own.
"""

from __future__ import annotations

import smtplib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from email.message import EmailMessage
from email.utils import formatdate
from typing import Final, Protocol
from urllib.parse import quote

from quantum_exit.courier import wording
from quantum_exit.courier.config import CourierConfig
from quantum_exit.courier.http import ANSWER_S, Http, NotDelivered
from quantum_exit.courier.masking import Mask
from quantum_exit.courier.spool import DEADMAN
from quantum_exit.courier.taken import Taken
from quantum_exit.sockets import Incoming

MAIL_S: Final = 30.0
"""For a whole message: a mailer may look at it while we wait."""


class Destination(Protocol):
    """`per_min`: how many messages it may get; `digests`: many alerts may be one message."""

    @property
    def name(self) -> str: ...
    @property
    def per_min(self) -> int: ...
    @property
    def digests(self) -> bool: ...

    def send(self, alerts: Sequence[Taken], *, harmless: bool = False) -> None:
        """One message for all of them. `harmless`: in words that nobody refuses. Raises
        NotDelivered."""


@dataclass(frozen=True, slots=True)
class _Words:
    """The text of a message: `head` is one line, `body` more of them."""

    host: str
    mask: Mask
    most: int

    def of(self, alerts: Sequence[Taken], *, harmless: bool) -> tuple[str, str]:
        if harmless:
            return f"{len(alerts)} alert(s) on {self.host}", wording.HARMLESS
        if len(alerts) == 1:
            head, body = wording.title(alerts[0], self.host), wording.body(alerts[0])
        else:
            head = wording.digest_title(alerts, self.host)
            body = "\n".join(map(wording.digest_line, alerts))
        head = self.mask.text(head)[:200]
        return head, wording.cut(self.mask.text(body), self.most - len(head))


@dataclass(frozen=True, slots=True)
class Discord:
    words: _Words
    http: Http
    name: str = "discord"
    per_min: int = 25
    digests: bool = True

    def send(self, alerts: Sequence[Taken], *, harmless: bool = False) -> None:
        head, body = self.words.of(alerts, harmless=harmless)
        content = f"**{head}**\n```\n{body.replace('```', chr(39) * 3)}\n```"
        # Whatever the text holds, it calls nobody by name.
        self.http.post({"content": content, "allowed_mentions": {"parse": []}})


@dataclass(frozen=True, slots=True)
class Slack:
    words: _Words
    http: Http
    name: str = "slack"
    per_min: int = 50
    digests: bool = True

    def send(self, alerts: Sequence[Taken], *, harmless: bool = False) -> None:
        head, body = (_for_slack(text) for text in self.words.of(alerts, harmless=harmless))
        self.http.post({"text": f"*{head}*\n```\n{body}\n```"})


def _for_slack(text: str) -> str:
    """Its three control characters; so `<!channel>` stays a text."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return escaped.replace("```", "'''")


@dataclass(frozen=True, slots=True)
class Telegram:
    chat: str
    words: _Words
    http: Http
    name: str = "telegram"
    per_min: int = 18
    """A group may get 20 a minute from a bot."""
    digests: bool = True

    def send(self, alerts: Sequence[Taken], *, harmless: bool = False) -> None:
        head, body = self.words.of(alerts, harmless=harmless)
        message = {
            "chat_id": self.chat,
            "text": f"{head}\n{body}",
            "link_preview_options": {"is_disabled": True},
        }
        self.http.post(message)


@dataclass(frozen=True, slots=True)
class Webhook:
    """One alert a request, whole, with its id as a key to know a second one by."""

    authorization: str
    words: _Words
    http: Http
    name: str = "webhook"
    per_min: int = 600
    digests: bool = False

    def send(self, alerts: Sequence[Taken], *, harmless: bool = False) -> None:
        for alert in alerts:
            told = replace(alert, details={"text": wording.HARMLESS}, extra={})
            document = self.words.mask.value(
                (told if harmless else alert).document(self.words.host)
            )
            headers = {"Idempotency-Key": quote(alert.alert_id)}  # it may hold anything
            if self.authorization:
                headers["Authorization"] = self.authorization
            self.http.post(document, headers)


@dataclass(frozen=True, slots=True)
class Mail:
    """Over the host's own mailer, which queues and delivers it on."""

    to: tuple[str, ...]
    sender: str
    server: tuple[str, int]
    words: _Words
    name: str = "mail"
    per_min: int = 20
    digests: bool = True

    def send(self, alerts: Sequence[Taken], *, harmless: bool = False) -> None:
        head, body = self.words.of(alerts, harmless=harmless)
        message = EmailMessage()
        message["From"] = self.sender
        message["To"] = ", ".join(self.to)
        message["Subject"] = f"[quantum] {head}"
        message["Date"] = formatdate()
        message["Message-ID"] = f"<{_token(alerts[0].alert_id)}.{len(alerts)}@quantum.invalid>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(body)
        try:
            with _Mailer(*self.server, timeout=ANSWER_S) as mailer:
                mailer.send_message(message)
        except smtplib.SMTPResponseException as error:
            raise NotDelivered(f"SMTP {error.smtp_code}") from None
        except smtplib.SMTPRecipientsRefused as error:
            codes = sorted({str(code) for code, _ in error.recipients.values()})
            raise NotDelivered(f"SMTP recipients refused: {', '.join(codes)}") from None
        except (smtplib.SMTPException, OSError) as error:
            raise NotDelivered(f"mailer: {type(error).__name__}") from None


class _Mailer(smtplib.SMTP):
    """Has `MAIL_S` in all for its replies, not only a timeout for each piece of them."""

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            deadline = time.monotonic() + MAIL_S
            self.file = Incoming(self.sock, ANSWER_S, deadline).makefile("rb")
        return super().getreply()


def _token(text: str) -> str:
    return "".join(c for c in text if c.isalnum() or c == "-")


@dataclass(frozen=True, slots=True)
class DeadMan:
    """Somebody outside who gets restless when this stops coming."""

    http: Http
    name: str = DEADMAN
    per_min: int = 20
    digests: bool = True
    """Canaries that piled up are one sign of life."""

    def send(self, alerts: Sequence[Taken], *, harmless: bool = False) -> None:
        del alerts, harmless
        self.http.get()


def configured(config: CourierConfig, mask: Mask) -> list[Destination]:
    """Those that the settings name, each with a connection of its own."""

    def words(most: int) -> _Words:
        return _Words(config.host, mask, most)

    found: list[Destination] = []
    if config.discord_url:
        found.append(Discord(words(1_900), Http(config.discord_url)))
    if config.slack_url:
        found.append(Slack(words(3_500), Http(config.slack_url)))
    if config.telegram_url:
        http = Http(config.telegram_url)
        found.append(Telegram(config.telegram_chat, words(3_900), http))
    if config.webhook_url:
        authorization = config.webhook_authorization
        found.append(Webhook(authorization, words(0), Http(config.webhook_url)))
    if config.mail_to:
        server = config.mail_host
        found.append(Mail(config.mail_to, config.mail_from, server, words(20_000)))
    if config.deadman_url:
        found.append(DeadMan(Http(config.deadman_url)))
    return found
