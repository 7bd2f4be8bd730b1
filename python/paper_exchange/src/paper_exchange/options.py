"""Command line and environment: every option can be given either way, the first one wins."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NoReturn

from .rest.limits import LimitSettings

EXIT_CONFIG = 78
"""What a service manager is told not to restart."""

_PREFIX = "PAPER_EXCHANGE_"
_DEFAULT_LIMITS = LimitSettings()


@dataclass(frozen=True, slots=True)
class Options:
    host: str
    port: int
    api_key: str
    secret_key: str = field(repr=False)
    read_api_key: str
    read_secret_key: str = field(repr=False)
    control_token: str = field(repr=False)
    state_file: Path | None
    exchange_info: Path | None
    brackets: Path | None
    prices: Path | None
    symbols: int
    seed: int
    balance: Decimal
    taker_fee: Decimal
    maker_fee: Decimal
    slippage: Decimal
    latency_ms: int
    post_averages: bool
    limits: LimitSettings
    stop_with_parent: bool


def read_options(argv: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Ends the process with a message and 78 for a wrong value. Empty variables count as unset."""
    parser = _parser(environ)
    given = parser.parse_args(argv)
    if bool(given.api_key) != bool(given.secret_key):
        parser.error("--api-key and --secret-key belong together")
    if bool(given.read_api_key) != bool(given.read_secret_key):
        parser.error("--read-api-key and --read-secret-key belong together")
    if not given.api_key:
        parser.error(f"no API key: give --api-key or {_PREFIX}API_KEY, and its secret")
    return Options(
        host=given.host,
        port=given.port,
        api_key=given.api_key,
        secret_key=given.secret_key,
        read_api_key=given.read_api_key,
        read_secret_key=given.read_secret_key,
        control_token=given.control_token,
        state_file=given.state_file,
        exchange_info=given.exchange_info,
        brackets=given.brackets,
        prices=given.prices,
        symbols=given.symbols,
        seed=given.seed,
        balance=given.balance,
        taker_fee=given.taker_fee,
        maker_fee=given.maker_fee,
        slippage=given.slippage,
        latency_ms=given.latency_ms,
        post_averages=given.post_averages,
        limits=LimitSettings(
            weight_1m=given.weight_limit,
            orders_10s=given.order_limit_10s,
            orders_1m=given.order_limit_1m,
        ),
        stop_with_parent=given.stop_with_parent,
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_CONFIG, f"{self.prog}: {message}\n")


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="paper-exchange",
        description="A local exchange that speaks the USD-M futures REST protocol. "
        "Never on a real host: its control API lets anybody who reaches the port do anything.",
        epilog=f"Every option can be given as {_PREFIX}<NAME> in the environment, for instance "
        f"{_PREFIX}ORDER_LIMIT_10S; secrets are better given that way.",
    )

    def add(name: str, default: str, kind: Callable[[str], object], text: str) -> None:
        variable = _PREFIX + name.upper().replace("-", "_")
        note = f" (default: {default})" if default else ""
        value = environ.get(variable) or default
        parser.add_argument(f"--{name}", default=value, type=kind, help=text + note)

    add("host", "127.0.0.1", str, "address to listen on")
    add("port", "8900", _count, "port to listen on; 0 takes a free one")
    add("api-key", "", str, "key that may trade")
    add("secret-key", "", str, "its secret")
    add("read-api-key", "", str, "key that may only read")
    add("read-secret-key", "", str, "its secret")
    add("control-token", "", str, "what /paper requests must carry as X-Paper-Control")
    add("state-file", "", _path, "keeps account, orders and prices over a restart")
    add("exchange-info", "", _path, "exchangeInfo document to take the symbols from, or its gzip")
    add("brackets", "", _path, "leverage brackets, as JSON")
    add("prices", "", _path, "first mark prices: a JSON object of symbol to price")
    add("symbols", "0", _count, "generated symbols besides the majors, for load")
    add("seed", "1", _count, "for generated symbols and ids")
    add("balance", "10000", _amount, "USDT in the wallet at the start")
    add("taker-fee", "0.0004", _amount, "fee of an order that takes, as a fraction")
    add("maker-fee", "0.0002", _amount, "fee of an order that makes, as a fraction")
    add("slippage", "0", _amount, "of market orders against the mark price, as a fraction")
    add("latency-ms", "0", _count, "between the door and the engine, for every request")
    add("post-averages", "true", _flag, "avgPrice and cumQuote in the answers to POST and DELETE")
    add("weight-limit", str(_DEFAULT_LIMITS.weight_1m), _count, "request weight a minute; 0: none")
    add("order-limit-10s", str(_DEFAULT_LIMITS.orders_10s), _count, "orders in 10 s; 0: no limit")
    add("order-limit-1m", str(_DEFAULT_LIMITS.orders_1m), _count, "orders a minute; 0: no limit")
    add("stop-with-parent", "false", _flag, "end when the standard input closes")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def _amount(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not amount.is_finite() or amount < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return amount


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def _path(text: str) -> Path | None:
    return Path(text) if text else None
