"""Builds the exchange from its options and serves it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence

from .app import make_app
from .clock import Clock
from .connections import Connections
from .domain.brackets import Bracket
from .domain.engine import Terms
from .exchange import Exchange
from .listing import (
    UnreadableFile,
    make_market,
    read_brackets,
    read_info,
    read_prices,
    synthetic_info,
)
from .notify import notify
from .options import EXIT_CONFIG, Options, read_options
from .replay import Replays
from .rest.auth import Credential, Keyring
from .rest.limits import Limiter
from .server import Server, announce, listen
from .state import StateFile
from .venue import Venue

_TICK_S = 0.1


def make_exchange(options: Options, clock: Clock) -> Exchange:
    """Raises UnreadableFile."""
    if options.exchange_info:
        info = read_info(options.exchange_info)
    else:
        info = synthetic_info(options.symbols, options.seed)
    prices = read_prices(options.prices) if options.prices else {}
    brackets: dict[str, tuple[Bracket, ...]] = {}
    if options.brackets:
        brackets = read_brackets(options.brackets)
    terms = Terms(options.taker_fee, options.maker_fee, options.slippage)
    market = make_market(info, prices, brackets)
    return Exchange(market, {"USDT": options.balance}, terms, options.seed, clock.now_ms())


def make_keyring(options: Options) -> Keyring:
    credentials = [Credential("trade", options.api_key, options.secret_key, may_trade=True)]
    if options.read_api_key:
        credentials.append(
            Credential("read", options.read_api_key, options.read_secret_key, may_trade=False)
        )
    return Keyring(credentials)


def make_venue(options: Options) -> Venue:
    """With the state of the last run, where a file is kept. Raises UnreadableFile."""
    clock = Clock()
    venue = Venue(
        exchange=make_exchange(options, clock),
        clock=clock,
        keyring=make_keyring(options),
        limiter=Limiter(options.limits),
        latency_ms=options.latency_ms,
        post_averages=options.post_averages,
    )
    if options.state_file:
        file = StateFile(options.state_file, venue.exchange, venue.keyring)
        file.open()
        venue.save = file.save
    return venue


async def serve(options: Options, environ: Mapping[str, str]) -> None:
    """Until a signal. Raises UnreadableFile, or OSError when the port cannot be had."""
    venue = make_venue(options)
    replays = Replays(venue.exchange, venue.clock)
    connections = Connections()
    server = Server(make_app(venue, replays, connections, options.control_token), connections)
    listener = listen(options.host, options.port)
    tasks = [
        asyncio.create_task(_tick(venue)),
        asyncio.create_task(announce(server, listener, environ)),
    ]
    for task in tasks:
        server.end_with(task)
    if options.stop_with_parent:
        server.end_with_input()
    try:
        await server.serve(sockets=[listener])
    finally:
        notify(environ, "STOPPING=1")
        for task in tasks:
            task.cancel()
        replays.stop()
        venue.save()


async def _tick(venue: Venue) -> None:
    """Runs the timers; what fell due or was filled by a moving price is then on disk too."""
    saved = venue.exchange.changes
    while True:
        await asyncio.sleep(_TICK_S)
        venue.exchange.tick(venue.clock.now_ms())
        if venue.exchange.changes != saved:
            saved = venue.exchange.changes
            venue.save()


def main(argv: Sequence[str] | None = None) -> int:
    options = read_options(sys.argv[1:] if argv is None else argv, os.environ)
    try:
        asyncio.run(serve(options, os.environ))
    except UnreadableFile as error:
        print(f"paper-exchange: {error}", file=sys.stderr)
        return EXIT_CONFIG
    except OSError as error:
        print(f"paper-exchange: {options.host}:{options.port}: {error}", file=sys.stderr)
        return 1
    return 0
