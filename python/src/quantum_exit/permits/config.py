"""P3.3's settings, read once from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from quantum_exit import keys
from quantum_exit.settings import (
    ConfigError,
    ExchangeSettings,
    exit_owner,
    http_timeout_s,
    public_keys,
    redis_url,
)
from quantum_exit.signing import BadKeyError, Verifier


@dataclass(frozen=True, slots=True)
class PermitsConfig:
    redis_url: str
    exchange: ExchangeSettings
    owner: str
    verifier: Verifier
    manual_stream: str
    http_timeout_s: float


def from_environ(environ: Mapping[str, str]) -> PermitsConfig:
    """Raises ConfigError naming the variable."""
    try:
        verifier = Verifier(public_keys(environ))
    except BadKeyError as error:
        raise ConfigError(str(error)) from None
    return PermitsConfig(
        redis_url=redis_url(environ),
        exchange=ExchangeSettings.from_environ(environ),
        owner=exit_owner(environ),
        verifier=verifier,
        manual_stream=environ.get("INTENT_EXECUTOR_MANUAL_STREAM", "").strip()
        or keys.APPLY_PLAN_MANUAL,
        http_timeout_s=http_timeout_s(environ, "P33_HTTP_TIMEOUT_S"),
    )
