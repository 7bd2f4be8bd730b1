"""The courier's settings, read once from the environment. Every URL in it is a secret."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from quantum_exit.binance.urls import is_loopback
from quantum_exit.settings import ConfigError, comma_list, positive_number, redis_url, required

_WINDOW_S: Final = Decimal(900)
_TELEGRAM: Final = "https://api.telegram.org"
_MAIL_HOST: Final = "127.0.0.1:25"


@dataclass(frozen=True, slots=True, repr=False)
class CourierConfig:
    """An empty text is a destination that is not used. `mail_host`: host and port of the host's
    own mailer."""

    redis_url: str
    state_directory: Path
    runtime_directory: Path | None
    """In memory: where alerts are put down when the disk is full."""
    host: str
    window_s: float
    discord_url: str
    slack_url: str
    telegram_url: str
    telegram_chat: str
    webhook_url: str
    webhook_authorization: str
    deadman_url: str
    mail_to: tuple[str, ...]
    mail_from: str
    mail_host: tuple[str, int]

    def __repr__(self) -> str:
        return f"CourierConfig(host={self.host!r})"

    @property
    def secrets(self) -> tuple[str, ...]:
        password = urlsplit(self.redis_url).password or ""
        urls = (self.discord_url, self.slack_url, self.telegram_url, self.webhook_url)
        authorization = self.webhook_authorization.split()[-1:]
        return (*urls, self.deadman_url, *authorization, password)


def from_environ(environ: Mapping[str, str]) -> CourierConfig:
    """Raises ConfigError naming the variable, never its value."""
    sandboxes = comma_list(environ, "QUANTUM_SANDBOX_HOSTS")

    def url(name: str) -> str:
        return _url(environ, name, sandboxes)

    mail_to = tuple(sorted(comma_list(environ, "ALERTS_MAIL_TO")))
    host = environ.get("ALERTS_HOST_NAME", "").strip() or socket.gethostname()
    config = CourierConfig(
        redis_url=redis_url(environ),
        state_directory=state_directory(environ),
        runtime_directory=runtime_directory(environ),
        host=host,
        window_s=float(positive_number(environ, "ALERTS_WINDOW_S", _WINDOW_S)),
        discord_url=url("ALERTS_DISCORD_URL"),
        slack_url=url("ALERTS_SLACK_URL"),
        telegram_url=_telegram(environ, url("ALERTS_TELEGRAM_API") or _TELEGRAM),
        telegram_chat=environ.get("ALERTS_TELEGRAM_CHAT", "").strip(),
        webhook_url=url("ALERTS_WEBHOOK_URL"),
        webhook_authorization=environ.get("ALERTS_WEBHOOK_AUTHORIZATION", "").strip(),
        deadman_url=url("ALERTS_DEADMAN_URL"),
        mail_to=mail_to,
        mail_from=environ.get("ALERTS_MAIL_FROM", "").strip() or f"quantum@{host}",
        mail_host=_address(environ.get("ALERTS_MAIL_HOST", "").strip() or _MAIL_HOST),
    )
    if config.deadman_url and not _destinations(config):
        raise ConfigError(
            "ALERTS_DEADMAN_URL is set and no destination is: it would be told that alerts "
            "arrive; set ALERTS_WEBHOOK_URL, or another"
        )
    return config


def _destinations(config: CourierConfig) -> bool:
    urls = (config.discord_url, config.slack_url, config.telegram_url, config.webhook_url)
    return any(urls) or bool(config.mail_to)


def state_directory(environ: Mapping[str, str]) -> Path:
    """ALERTS_STATE_DIRECTORY, or the one that systemd names."""
    named = environ.get("ALERTS_STATE_DIRECTORY", "").strip()
    given = named or environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if not given:
        raise ConfigError("ALERTS_STATE_DIRECTORY is missing: name a directory for the spool")
    return Path(given)


def runtime_directory(environ: Mapping[str, str]) -> Path | None:
    """The one that systemd names; none by hand."""
    given = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return Path(given) if given else None


def _telegram(environ: Mapping[str, str], base: str) -> str:
    token = environ.get("ALERTS_TELEGRAM_TOKEN", "").strip()
    if not token:
        return ""
    required(environ, "ALERTS_TELEGRAM_CHAT", "the bot must know which chat to write to")
    return f"{base.rstrip('/')}/bot{token}/sendMessage"


def _url(environ: Mapping[str, str], name: str, sandboxes: frozenset[str]) -> str:
    text = environ.get(name, "").strip()
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
        (host or "").encode("idna")
    except ValueError:
        raise ConfigError(f"{name} cannot be parsed as a URL") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError(f"{name} must be https://host/path")
    if parts.scheme == "http" and not is_loopback(host) and host not in sandboxes:
        raise ConfigError(f"{name}: plain http is for this host alone; use https")
    return text


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError("ALERTS_MAIL_HOST must be host:port")
    return host.strip("[]"), int(port)
