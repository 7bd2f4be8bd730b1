"""The Exit Brain's settings, read once from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from quantum_exit.exit_mode import ExitMode, TradingState
from quantum_exit.settings import (
    ConfigError,
    ExchangeSettings,
    exit_owner,
    flag,
    positive_number,
    redis_url,
)
from quantum_exit.signing import BadKeyError, Signer

_LONGEST_CYCLE_S = 60
_SHORTEST_CYCLE_S = Decimal("0.5")


@dataclass(frozen=True, slots=True)
class BrainSettings:
    exchange: ExchangeSettings
    redis_url: str
    mode: ExitMode
    owner: str
    signer: Signer | None
    """None only where the brain cannot go LIVE."""
    cycle_s: float
    exchange_stop: bool
    kill_file: str
    log_file: str
    recv_window_ms: int
    http_timeout_s: float


def from_environ(environ: Mapping[str, str]) -> BrainSettings:
    """Raises ConfigError naming the variable."""
    mode = ExitMode.from_environ(environ)
    exchange = ExchangeSettings.from_environ(environ)
    return BrainSettings(
        exchange=exchange,
        redis_url=redis_url(environ),
        mode=mode,
        owner=exit_owner(environ),
        signer=_signer(environ, mode),
        cycle_s=_cycle_s(environ, exchange.base_url),
        exchange_stop=flag(environ, "EXIT_BRAIN_EXCHANGE_STOP", default=True),
        kill_file=environ.get("QUANTUM_KILL_FILE", "").strip(),
        log_file=environ.get("QUANTUM_LOG_FILE", "").strip(),
        recv_window_ms=int(positive_number(environ, "QUANTUM_RECV_WINDOW_MS", Decimal(1000))),
        http_timeout_s=float(positive_number(environ, "EXIT_BRAIN_HTTP_TIMEOUT_S", Decimal(3))),
    )


def _signer(environ: Mapping[str, str], mode: ExitMode) -> Signer | None:
    seed = environ.get("QUANTUM_SIGNING_KEY", "").strip()
    if not seed:
        if mode.state is TradingState.LIVE:
            raise ConfigError(
                "QUANTUM_SIGNING_KEY is missing: LIVE needs the exit owner's signing key "
                "(64 hex digits), without it no exit of ours would be executed"
            )
        return None
    try:
        return Signer(seed)
    except BadKeyError as error:
        raise ConfigError(f"QUANTUM_SIGNING_KEY: {error}") from None


def _cycle_s(environ: Mapping[str, str], base_url: str) -> float:
    cycle_s = positive_number(environ, "EXIT_BRAIN_CYCLE_S", Decimal(1))
    if cycle_s > _LONGEST_CYCLE_S:
        raise ConfigError(f"EXIT_BRAIN_CYCLE_S must be {_LONGEST_CYCLE_S} or less")
    if cycle_s < _SHORTEST_CYCLE_S and base_url.startswith("https"):
        raise ConfigError(
            f"EXIT_BRAIN_CYCLE_S must be {_SHORTEST_CYCLE_S} or more: a cycle weighs 15 of the "
            "2400 a minute that the exchange allows this address"
        )
    return float(cycle_s)
