"""The executor's settings, read once from the environment."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from quantum_exit import keys
from quantum_exit.exit_mode import env_kill_active
from quantum_exit.gates.model import Limits
from quantum_exit.gates.model import Settings as GateSettings
from quantum_exit.settings import (
    MOST_RECV_WINDOW_MS,
    ConfigError,
    ExchangeSettings,
    comma_list,
    exit_owner,
    number_within,
    optional_number,
    public_keys,
    redis_url,
)
from quantum_exit.signing import BadKeyError, Verifier

_PREFIX: Final = "INTENT_EXECUTOR"
_DEFAULT_SOURCES: Final = "intent_bridge,apply_layer,exitbrain_v3_5"
_MOST_THREADS: Final = 64
_LIMIT_NAMES: Final = ("MAX_ORDER_VALUE", "PRICE_COLLAR_PCT", "MAX_ORDERS_PER_MIN", "MAX_REPEATS")


@dataclass(frozen=True, slots=True)
class ExecutorSettings:
    exchange: ExchangeSettings
    redis_url: str
    gates: GateSettings
    verifier: Verifier
    manual_stream: str
    kill_file: str
    env_kill_active: bool
    lock_file: Path
    recv_window_ms: int
    permit_wait_s: float
    order_threads: int
    http_timeout_s: float
    reclaim_s: float


def from_environ(environ: Mapping[str, str]) -> ExecutorSettings:
    """Raises ConfigError naming the variable."""
    exchange = ExchangeSettings.from_environ(environ)
    url = redis_url(environ)
    try:
        verifier = Verifier(public_keys(environ))
    except BadKeyError as error:
        raise ConfigError(str(error)) from None
    return ExecutorSettings(
        exchange=exchange,
        redis_url=url,
        gates=_gates(environ),
        verifier=verifier,
        manual_stream=environ.get(f"{_PREFIX}_MANUAL_STREAM", "").strip() or keys.APPLY_PLAN_MANUAL,
        kill_file=environ.get("QUANTUM_KILL_FILE", "").strip(),
        env_kill_active=env_kill_active(environ),
        lock_file=_lock_file(environ, url),
        recv_window_ms=_whole(environ, "QUANTUM_RECV_WINDOW_MS", 1000, most=MOST_RECV_WINDOW_MS),
        permit_wait_s=_seconds(environ, f"{_PREFIX}_PERMIT_WAIT_S", 8, most=60),
        order_threads=_whole(environ, f"{_PREFIX}_ORDER_THREADS", 8, most=_MOST_THREADS),
        http_timeout_s=_seconds(environ, f"{_PREFIX}_HTTP_TIMEOUT_S", 5, most=30),
        reclaim_s=_seconds(environ, f"{_PREFIX}_RECLAIM_S", 30, most=3_600),
    )


def _seconds(environ: Mapping[str, str], name: str, default: int, *, most: int) -> float:
    return float(number_within(environ, name, Decimal(default), Decimal("0.1"), Decimal(most)))


def _whole(environ: Mapping[str, str], name: str, default: int, *, most: int) -> int:
    return int(
        number_within(environ, name, Decimal(default), Decimal(1), Decimal(most), whole=True)
    )


def _gates(environ: Mapping[str, str]) -> GateSettings:
    allowlist = f"{_PREFIX}_ALLOWLIST"
    return GateSettings(
        owner=exit_owner(environ),
        source_allowlist=comma_list(environ, f"{_PREFIX}_SOURCE_ALLOWLIST", _DEFAULT_SOURCES),
        symbol_allowlist=(
            frozenset(s.upper() for s in comma_list(environ, allowlist))
            if allowlist in environ
            else None
        ),
        plan_lifetime_s=_seconds(environ, f"{_PREFIX}_PLAN_LIFETIME_S", 60, most=3_600),
        intent_lifetime_s=_seconds(environ, f"{_PREFIX}_INTENT_LIFETIME_S", 60, most=3_600),
        limits={symbol: _limits(environ, symbol) for symbol in _limited_symbols(environ)},
        default_limits=_limits(environ, ""),
    )


def _limited_symbols(environ: Mapping[str, str]) -> set[str]:
    """`INTENT_EXECUTOR_MAX_REPEATS_BTCUSDT=3` limits one symbol; it takes precedence."""
    symbols = set()
    for name in environ:
        for limit in _LIMIT_NAMES:
            symbol = name.removeprefix(f"{_PREFIX}_{limit}_")
            if symbol != name:
                symbols.add(symbol)
    return symbols


def _limits(environ: Mapping[str, str], symbol: str) -> Limits:
    value, collar, rate, repeats = (_limit(environ, name, symbol) for name in _LIMIT_NAMES)
    return Limits(
        max_order_value=value,
        price_collar_pct=collar,
        max_orders_per_min=_count(rate, "MAX_ORDERS_PER_MIN"),
        max_repeats=_count(repeats, "MAX_REPEATS"),
    )


def _count(limit: Decimal | None, name: str) -> int | None:
    if limit is not None and limit != int(limit):
        raise ConfigError(f"{_PREFIX}_{name} must be a whole number")
    return None if limit is None else int(limit)


def _limit(environ: Mapping[str, str], name: str, symbol: str) -> Decimal | None:
    specific = f"{_PREFIX}_{name}_{symbol}"
    if symbol and specific in environ:
        return optional_number(environ, specific)
    return optional_number(environ, f"{_PREFIX}_{name}")


def _lock_file(environ: Mapping[str, str], url: str) -> Path:
    """Executors of one Redis must find the same lock, also when started by hand. The
    password takes no part in it, so a rotation does not split them."""
    configured = environ.get("QUANTUM_LOCK_FILE", "").strip()
    if configured:
        return Path(configured)
    parts = urlsplit(url)
    address = f"{parts.hostname}:{parts.port or 6379}{parts.path.rstrip('/') or '/0'}"
    digest = hashlib.sha256(address.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"quantum-intent-executor-{digest}.lock"
