"""`python -m quantum_exit.demo`: run on the sandbox host, as root."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final

import redis

from quantum_exit.binance.errors import ReadFailed
from quantum_exit.demo.host import obstacles, wait_until_fit
from quantum_exit.demo.paper import Paper, PaperError
from quantum_exit.demo.story import Story, Stuck, Wanted
from quantum_exit.demo.timeline import render, total_ms
from quantum_exit.demo.trace import PermitEar
from quantum_exit.exitctl.context import OPERATOR_ENV, CommandError, Context, load_environ
from quantum_exit.proofs import host
from quantum_exit.proofs.exchange import make_client
from quantum_exit.settings import ConfigError, base_url, exit_owner, is_testnet
from quantum_exit.values import Unknown

PAPER_ENV: Final = "/etc/quantum/paper-exchange.env"
TOKEN_VARIABLE: Final = "PAPER_EXCHANGE_CONTROL_TOKEN"  # noqa: S105 - a name


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m quantum_exit.demo",
        description="Open a position on the paper exchange, let the price fall, watch it close.",
        epilog="Exit status: 0 closed by an executed plan of the owner, 2 not, 3 could not run.",
    )
    parser.add_argument("--symbol", default="AVAXUSDT")
    parser.add_argument(
        "--prices", type=Path, help="a kline file as of data.binance.vision, plain or gzip"
    )
    parser.add_argument("--speed", type=float, default=60.0, help="minutes a real minute (60)")
    parser.add_argument("--seed", type=int, default=1, help="of the made-up fall (1)")
    parser.add_argument(
        "--patience", type=float, default=30.0, help="seconds to wait until the host is fit (30)"
    )
    parser.add_argument("--depth-pct", type=Decimal, default=Decimal(8), help="of that fall (8)")
    arguments = parser.parse_args()
    if not 0 < arguments.speed <= 100_000:
        parser.error("--speed must be above 0")
    if arguments.prices and not arguments.prices.is_file():
        parser.error(f"--prices: there is no file {arguments.prices}")
    return arguments


def say(text: str) -> None:
    print(f"  {text}", flush=True)


def main() -> int:
    arguments = parse_arguments()
    try:
        return run(arguments, load_environ(os.environ, OPERATOR_ENV))
    except (CommandError, ConfigError, PaperError, ReadFailed, redis.RedisError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 3
    except Stuck as stuck:
        print(f"\nNOT CLOSED: {stuck}", file=sys.stderr)
        return 2


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    bus = Context(environ, json_output=False).redis()
    paper = Paper(base_url(environ, testnet=is_testnet(environ)), _token(environ))
    offset_ms = paper.now_ms() - time.time() * 1000
    client = make_client(environ)
    if isinstance(client, Unknown):
        raise CommandError(client.why)
    symbol = arguments.symbol.upper()
    left = wait_until_fit(lambda: obstacles(bus, environ, symbol), say, arguments.patience)
    if left:
        raise Stuck("this host is not fit for it:\n  - " + "\n  - ".join(left))
    ear = PermitEar(environ["REDIS_URL"], lambda: time.time() * 1000)
    ear.start()
    wanted = Wanted(symbol, arguments.prices, arguments.speed, arguments.seed, arguments.depth_pct)
    story = Story(bus, client, paper, exit_owner(environ), wanted, ear, say)
    print(f"DEMONSTRATION on the paper exchange: {symbol}", flush=True)
    moments = story.run()
    print(f"\nTIMELINE (UTC)\n{render(moments)}")
    took_ms = total_ms(moments, "price at the stop", "result")
    if took_ms is not None:
        print(f"\n  from the price at the stop to the result: {took_ms:.0f} ms")
    if abs(offset_ms) > 50:
        print(f"  (the exchange's clock is {offset_ms:.0f} ms off this host's)")
    print("\nCLOSED by an executed plan of the exit owner")
    return 0


def _token(environ: Mapping[str, str]) -> str:
    """The control token, from the environment or the paper exchange's own file."""
    if TOKEN_VARIABLE in environ:
        return environ[TOKEN_VARIABLE]
    file = host.read_env_file(PAPER_ENV)
    return file.get(TOKEN_VARIABLE, "") if isinstance(file, dict) else ""


if __name__ == "__main__":
    sys.exit(main())
