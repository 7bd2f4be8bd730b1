"""What the exchange says at the time of the report: prices of the period, trades, positions.

Three cheap reads a symbol at most, with the key that only reads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from quantum_exit.binance.client import Client
from quantum_exit.binance.errors import ReadFailed
from quantum_exit.binance.model import Kline, Trade
from quantum_exit.proofs.exchange import make_client
from quantum_exit.values import Unknown

SYMBOLS: Final = 20
"""Symbols asked about, at most: what all of it weighs stays far below the limit."""
_MINUTE_S: Final = 60
_KLINES: Final = 1_500
_TRADES: Final = 1_000


@dataclass(frozen=True, slots=True)
class Market:
    """What is missing here was not told; `why` says why."""

    trades: Mapping[str, tuple[Trade, ...]] = field(default_factory=dict)
    klines: Mapping[str, tuple[Kline, ...]] = field(default_factory=dict)
    amounts: Mapping[str, Decimal] | None = None
    """Signed positions of now; a symbol without one is flat. None: not known."""
    why: tuple[str, ...] = ()


def read(environ: Mapping[str, str], symbols: list[str], since_epoch: float, now: float) -> Market:
    """Never raises for an exchange that does not answer: then it is unknown, and says so."""
    client = make_client(environ)
    if isinstance(client, Unknown):
        return Market(why=(f"no key to read the exchange with: {client.why}",))
    why = []
    if len(symbols) > SYMBOLS:
        why.append(f"prices and trades of {SYMBOLS} of {len(symbols)} symbols were asked for")
    try:
        amounts = {each.symbol: each.amount for each in client.positions() if each.amount}
    except ReadFailed as error:
        return Market(why=(f"the exchange does not answer: {error}",))
    trades: dict[str, tuple[Trade, ...]] = {}
    klines: dict[str, tuple[Kline, ...]] = {}
    for symbol in symbols[:SYMBOLS]:
        try:
            trades[symbol] = tuple(
                client.user_trades(symbol, start_ms=int(since_epoch * 1000), limit=_TRADES)
            )
            if len(trades[symbol]) == _TRADES:
                why.append(f"{symbol}: only the first {_TRADES} trades of the period were read")
            klines[symbol] = _klines(client, symbol, since_epoch, now)
        except ReadFailed as error:
            why.append(f"{symbol}: {error}")
    return Market(trades, klines, amounts, tuple(why))


def _klines(client: Client, symbol: str, since_epoch: float, now: float) -> tuple[Kline, ...]:
    """Of one minute each, from a little before `since_epoch`."""
    minutes = math.ceil((now - since_epoch) / _MINUTE_S) + 5
    return tuple(client.klines(symbol, "1m", min(minutes, _KLINES)))
