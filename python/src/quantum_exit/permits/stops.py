"""Our stops that rest on the exchange, as the results tell of them.

When one fires, a position shrinks without any plan. Knowing which stops there are, P3.3 asks
the exchange what became of them before it calls the change unexplained.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, Protocol, cast

from quantum_exit import keys
from quantum_exit.binance.model import AlgoAck, AlgoNotFound, Trade
from quantum_exit.bus.connection import RedisClient
from quantum_exit.permits.bookkeeper import FiredStop
from quantum_exit.values import OrderSide

CLIENT_ID_PREFIX: Final = "qs-"
"""The executor names every stop it places like this."""
BATCH: Final = 500
_MAX_BATCHES: Final = 20
STOPS_KEY: Final = "quantum:permits:stops"
_CURSOR: Final = "quantum:permits:results_read"


class StopExchange(Protocol):
    def query_algo(self, client_algo_id: str) -> AlgoAck | AlgoNotFound: ...
    def user_trades(self, symbol: str, *, order_id: int | None = None) -> list[Trade]: ...


def fired_among(exchange: StopExchange, symbol: str, ids: Iterable[str]) -> tuple[FiredStop, ...]:
    """Those that became an order, with what it filled. Raises `ReadFailed`."""
    found = []
    for client_id in ids:
        ack = exchange.query_algo(client_id)
        if isinstance(ack, AlgoNotFound) or not ack.actual_order_id or ack.symbol != symbol:
            continue
        trades = exchange.user_trades(symbol, order_id=ack.actual_order_id)
        filled = sum((OrderSide(t.side).sign * t.qty for t in trades), Decimal(0))
        if filled:
            found.append(FiredStop(client_id, filled))
    return tuple(found)


class PlacedStops:
    """Follows the results. What it learned is kept in Redis, through restarts.

    Belongs to one thread; raises redis.RedisError.
    """

    def __init__(self, redis: RedisClient) -> None:
        self._redis = cast(Any, redis)
        self._symbols: dict[str, str] = {}
        self._cursor = ""
        self._filled = False

    def of(self, symbol: str) -> tuple[str, ...]:
        return tuple(client_id for client_id, where in self._symbols.items() if where == symbol)

    def follow(self) -> bool:
        """Reads the results that came since, after a long absence in several calls. True when
        an order of ours has filled: the exchange is worth another look."""
        if not self._cursor:
            self._load()
        self._filled = False
        for _ in range(_MAX_BATCHES):
            if self._follow_batch() < BATCH:
                break
        return self._filled

    def _follow_batch(self) -> int:
        reply = self._redis.xread({keys.APPLY_RESULT: self._cursor}, count=BATCH)
        entries = reply[0][1] if reply else []
        if not entries:
            return 0
        gone: set[str] = set()
        placed: dict[str, str] = {}
        for _, fields in entries:
            _note(fields, placed, gone)
            self._filled |= fields.get(b"filled_qty", b"0") not in (b"0", b"")
        cursor = entries[-1][0].decode()
        pipe = self._redis.pipeline(transaction=True)
        if placed:
            pipe.hset(STOPS_KEY, mapping=placed)
        if gone:
            pipe.hdel(STOPS_KEY, *gone)
        pipe.set(_CURSOR, cursor)
        pipe.execute()
        self._symbols.update(placed)
        for client_id in gone:
            self._symbols.pop(client_id, None)
        self._cursor = cursor
        return len(entries)

    def forget(self, ids: Iterable[str]) -> None:
        """They are accounted for, and gone from Redis."""
        for client_id in ids:
            self._symbols.pop(client_id, None)

    def reset(self) -> None:
        """Redis was lost: what it says now counts."""
        self._cursor = ""

    def _load(self) -> None:
        kept: Mapping[bytes, bytes] = self._redis.hgetall(STOPS_KEY)
        self._symbols = {name.decode(): symbol.decode() for name, symbol in kept.items()}
        cursor = self._redis.get(_CURSOR)
        self._cursor = cursor.decode() if cursor else "0-0"


def _note(fields: Mapping[bytes, bytes], placed: dict[str, str], gone: set[str]) -> None:
    if fields.get(b"executed") != b"true":
        return
    client_id = fields.get(b"client_order_id", b"").decode(errors="replace")
    if not client_id.startswith(CLIENT_ID_PREFIX):
        return
    if fields.get(b"order_status") == b"CANCELED":
        placed.pop(client_id, None)
        gone.add(client_id)
    else:
        placed[client_id] = fields.get(b"symbol", b"").decode(errors="replace")
