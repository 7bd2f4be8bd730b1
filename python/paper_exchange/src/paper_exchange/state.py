"""The exchange's memory over a restart: one JSON file, replaced atomically, mode 0600.

It is written before a change is answered, so an answered order survives kill -9. Candles,
fault rules and the journal are not in it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterable, Mapping
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from .domain.algos import Algo
from .domain.orders import Order, Trade
from .domain.positions import Position
from .exchange import Exchange
from .listing import UnreadableFile
from .records import from_record, to_record
from .rest.auth import Credential, Keyring

_log = logging.getLogger(__name__)
_VERSION = 1
_KEPT = 500
"""Ended orders and trades that are remembered; every open order is."""


def _dump_account(exchange: Exchange, keyring: Keyring) -> dict[str, object]:
    """All but the lists that grow."""
    account = exchange.books.account
    return {
        "version": _VERSION,
        "last_ids": [
            exchange.engine.last_order_id,
            exchange.engine.last_trade_id,
            exchange.algos.last_algo_id,
        ],
        "wallets": {asset: str(amount) for asset, amount in account.wallets.items()},
        "positions": [to_record(p) for p in account.positions.values()],
        "leverages": account.leverages,
        "isolated": sorted(account.isolated),
        "hedge_mode": account.hedge_mode,
        "updated_ms": account.updated_ms,
        "marks": {symbol: str(price) for symbol, price in exchange.books.marks.items()},
        "open_orders": [to_record(o) for o in exchange.books.orders.open_orders()],
        "open_algos": [to_record(a) for a in exchange.algos.open_algos()],
        "countdowns": exchange.countdowns,
        "added_keys": [to_record(c) for c in keyring.added()],
        "revoked_keys": sorted(keyring.revoked()),
    }


class _Ended:
    """The JSON text of things that no longer change, made once for each."""

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}

    def list_of(self, items: Iterable[tuple[int, object]]) -> str:
        """`items` as (id, record); what is not among them is forgotten."""
        known = self._texts
        self._texts = {key: known.get(key) or _json(to_record(item)) for key, item in items}
        return f"[{','.join(self._texts.values())}]"


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def load(exchange: Exchange, keyring: Keyring, state: Mapping[str, Any]) -> None:
    """Into a fresh exchange. Raises KeyError, TypeError, ValueError or ArithmeticError."""
    if state["version"] != _VERSION:
        raise ValueError(f"version {state['version']!r} instead of {_VERSION}")
    account = exchange.books.account
    positions = [from_record(Position, p) for p in state["positions"]]
    orders = [
        from_record(Order, o) for o in (*state.get("ended_orders", ()), *state["open_orders"])
    ]
    algos = [from_record(Algo, a) for a in (*state.get("ended_algos", ()), *state["open_algos"])]
    symbols = {p.symbol for p in positions} | {o.symbol for o in orders}
    for symbol in sorted(symbols | {a.symbol for a in algos}):
        if symbol not in exchange.rules:
            raise ValueError(f"it knows the symbol {symbol}, which is not listed any more")
    account.wallets = {asset: Decimal(amount) for asset, amount in state["wallets"].items()}
    account.positions = {p.symbol: p for p in positions}
    account.leverages = dict(state["leverages"])
    account.isolated = set(state["isolated"])
    account.hedge_mode = bool(state["hedge_mode"])
    account.updated_ms = int(state["updated_ms"])
    known = {s: Decimal(p) for s, p in state["marks"].items() if s in exchange.rules}
    exchange.books.marks.update(known)
    for order in orders:
        exchange.books.orders.add(order)
    exchange.engine.trades.extend(from_record(Trade, t) for t in state["trades"])
    exchange.algos.restore(algos)
    exchange.countdowns.update(state["countdowns"])
    exchange.engine.last_order_id, exchange.engine.last_trade_id, last_algo_id = state["last_ids"]
    exchange.algos.last_algo_id = last_algo_id
    for record in state["added_keys"]:
        keyring.add(from_record(Credential, record))
    for api_key in state["revoked_keys"]:
        keyring.revoke(api_key)


class StateFile:
    def __init__(self, path: Path, exchange: Exchange, keyring: Keyring) -> None:
        self._path = path
        self._exchange = exchange
        self._keyring = keyring
        self._failing = False
        self._orders = _Ended()
        self._trades = _Ended()
        self._algos = _Ended()

    def open(self) -> None:
        """Takes over what is there, and makes sure that it can be written.

        Raises UnreadableFile naming the file.
        """
        self._read()
        try:
            self._write()
        except OSError as error:
            raise UnreadableFile(f"{self._path}: {error.strerror}") from error

    def _read(self) -> None:
        try:
            content = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise UnreadableFile(f"{self._path}: {error}") from error
        try:
            load(self._exchange, self._keyring, json.loads(content))
        except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
            raise UnreadableFile(f"{self._path}: not a state of this exchange: {error}") from error

    def save(self) -> None:
        """Writes; when that fails the exchange goes on and says so, once until it works again."""
        try:
            self._write()
        except OSError as error:
            if not self._failing:
                _log.warning("state is not saved to %s: %s", self._path, error)
            self._failing = True
        else:
            self._failing = False

    def _write(self) -> None:
        content = self._content()
        beside = self._path.with_name(f".{self._path.name}.new")
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(content)
            beside.replace(self._path)
        except OSError:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise

    def _content(self) -> str:
        exchange = self._exchange
        orders = exchange.books.orders.newest_closed(_KEPT)
        trades = list(islice(reversed(exchange.engine.trades), _KEPT))
        ended = {
            "ended_orders": self._orders.list_of((o.order_id, o) for o in orders),
            "ended_algos": self._algos.list_of(
                (a.algo_id, a) for a in exchange.algos.newest_ended(_KEPT)
            ),
            "trades": self._trades.list_of((t.trade_id, t) for t in reversed(trades)),
        }
        lists = "".join(f',"{name}":{text}' for name, text in ended.items())
        return f"{_json(_dump_account(exchange, self._keyring))[:-1]}{lists}}}"
