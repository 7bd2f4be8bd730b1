"""The Exit Brain's settings, read once from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from quantum_exit.exit_mode import ExitMode, TradingState
from quantum_exit.settings import (
    MOST_RECV_WINDOW_MS,
    ConfigError,
    ExchangeSettings,
    exit_owner,
    flag,
    http_timeout_s,
    number_within,
    redis_url,
)
from quantum_exit.signing import BadKeyError, Signer

_LONGEST_CYCLE_S = Decimal(60)
_SHORTEST_CYCLE_S = Decimal("0.5")
_SHORTEST_SANDBOX_CYCLE_S = Decimal("0.05")


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
        recv_window_ms=_recv_window_ms(environ),
        http_timeout_s=http_timeout_s(environ, "EXIT_BRAIN_HTTP_TIMEOUT_S"),
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


def _recv_window_ms(environ: Mapping[str, str]) -> int:
    default, most = Decimal(1_000), Decimal(MOST_RECV_WINDOW_MS)
    name = "QUANTUM_RECV_WINDOW_MS"
    return int(number_within(environ, name, default, Decimal(1), most, whole=True))


def _cycle_s(environ: Mapping[str, str], base_url: str) -> float:
    is_real = base_url.startswith("https")
    least = _SHORTEST_CYCLE_S if is_real else _SHORTEST_SANDBOX_CYCLE_S
    try:
        return float(
            number_within(environ, "EXIT_BRAIN_CYCLE_S", Decimal(1), least, _LONGEST_CYCLE_S)
        )
    except ConfigError as error:
        why = "a cycle weighs 15 of the 2400 a minute that the exchange allows this address"
        raise ConfigError(f"{error}: {why}" if is_real else str(error)) from None
