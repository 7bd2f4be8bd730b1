"""The control API as typed methods. Works against any paper exchange, also a deployed one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from .transport import request

Number = str | int | Decimal


class ControlRefused(Exception):
    """The exchange did not do what was asked; the message says why."""


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """An order request that arrived.

    `outcome`: pending, accepted, refused (code, msg), or dropped (never looked at, by a fault).
    `reply`: pending, sent, replaced or dropped. `*_at_s` is the machine's monotonic clock
    (time.monotonic() of any process on it), `*_ms` the exchange's clock; `decided` is when it
    was accepted or refused. `timestamp_ms` is what the client signed.
    """

    seq: int
    method: str
    path: str
    params: Mapping[str, str]
    client_order_id: str
    timestamp_ms: int | None
    recv_window_ms: int | None
    api_key: str
    is_order: bool
    arrived_ms: int
    arrived_at_s: float
    outcome: str
    decided_ms: int | None
    decided_at_s: float | None
    order_id: int | None
    accepted_qty: str | None
    code: int | None
    msg: str | None
    reply: str

    @property
    def accepted(self) -> bool:
        return self.outcome == "accepted"


@dataclass(frozen=True, slots=True)
class FillRecord:
    """One trade on the account. `actor`: api, algo, hand, liquidation or adl."""

    trade_id: int
    order_id: int
    client_order_id: str
    symbol: str
    side: str
    price: Decimal
    qty: Decimal
    realized_pnl: Decimal
    commission: Decimal
    actor: str
    time_ms: int


class ControlClient:
    def __init__(self, base_url: str, token: str = "") -> None:
        self.base_url = base_url
        self._token = token

    def call(self, method: str, path: str, body: object | None = None, **query: object) -> Any:
        """The parsed answer. Raises ControlRefused, or OSError when nobody listens."""
        content = b"" if body is None else json.dumps(body, default=str).encode()
        return self._send(method, path, content, "application/json", query)

    def _send(
        self, method: str, path: str, content: bytes, kind: str, query: Mapping[str, object]
    ) -> Any:
        given = {name: str(value) for name, value in query.items() if value is not None}
        target = f"/paper/{path}" + (f"?{urlencode(given)}" if given else "")
        headers = {"Content-Type": kind, "X-Paper-Control": self._token}
        answer = request(self.base_url, method, target, content=content, headers=headers)
        if answer.status != 200:
            reason = answer.body.get("error") if isinstance(answer.body, dict) else answer.body
            raise ControlRefused(f"{method} {target}: {answer.status} {reason}")
        return answer.body

    # what happened

    def orders(self, since: int = 0, *, everything: bool = False) -> list[OrderRecord]:
        """Order requests after number `since`; `everything`: also cancels and settings."""
        found = self.call("GET", "orders", since=since, all=str(everything).lower())
        return [OrderRecord(**row) for row in found["orders"]]

    def fills(self, since: int = 0) -> list[FillRecord]:
        """Trades with an id above `since`."""
        return [_fill(row) for row in self.call("GET", "fills", since=since)["fills"]]

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = self.call("GET", "state")
        return state

    def position(self, symbol: str) -> Decimal:
        """Signed amount; 0 when flat."""
        held = self.state()["positions"].get(symbol)
        return Decimal(held["amount"]) if held else Decimal(0)

    def price(self, symbol: str) -> Decimal:
        return Decimal(self.call("GET", "prices")[symbol])

    # prices

    def set_price(self, symbol: str, price: Number) -> None:
        self.set_prices({symbol: price})

    def set_prices(self, prices: Mapping[str, Number]) -> None:
        self.call("POST", "prices", {symbol: str(price) for symbol, price in prices.items()})

    def start_replay(
        self,
        symbol: str,
        file: Path,
        *,
        speed: float = 60,
        skip_minutes: int = 0,
        minutes: int | None = None,
        scale: bool = False,
    ) -> dict[str, Any]:
        """Uploads a kline file (plain, gzip, zip). Speed 0: only `step_replay` moves it."""
        query = {
            "symbol": symbol,
            "speed": speed,
            "skip_minutes": skip_minutes,
            "minutes": minutes,
            "scale": str(scale).lower(),
            "name": file.name,
        }
        started: dict[str, Any] = self._send(
            "POST", "replay", file.read_bytes(), "application/octet-stream", query
        )
        return started

    def step_replay(self, symbol: str, points: int = 1) -> dict[str, Any]:
        """Plays the next points at once, four a minute."""
        stepped: dict[str, Any] = self.call(
            "POST", "replay/step", {"symbol": symbol, "points": points}
        )
        return stepped

    def start_fall(
        self,
        symbol: str,
        *,
        depth_pct: Number = 10,
        minutes: int = 10,
        speed: float = 60,
        seed: int = 1,
    ) -> dict[str, Any]:
        body = {
            "symbol": symbol,
            "depth_pct": depth_pct,
            "minutes": minutes,
            "speed": speed,
            "seed": seed,
        }
        started: dict[str, Any] = self.call("POST", "fall", body)
        return started

    def replays(self) -> dict[str, dict[str, Any]]:
        """By symbol; `state` is running, waiting (speed 0), finished or stopped."""
        return {row["symbol"]: row for row in self.call("GET", "replay")["replays"]}

    def stop_replay(self, symbol: str | None = None) -> None:
        self.call("DELETE", "replay", symbol=symbol)

    # other actors

    def set_position(self, symbol: str, amount: Number, *, actor: str = "hand") -> None:
        """Somebody else (hand, liquidation, adl) trades the position to `amount` (signed)."""
        self.call("POST", "position", {"symbol": symbol, "amount": amount, "actor": actor})

    def deposit(self, amount: Number, asset: str = "USDT") -> Decimal:
        found = self.call("POST", "deposit", {"amount": amount, "asset": asset})
        return Decimal(found["balance"])

    def set_liquidity(self, symbol: str, qty: Number | None) -> None:
        """What market orders find from now on; the rest of one expires. None: unlimited."""
        self.call("POST", "liquidity", {"symbol": symbol, "qty": qty})

    def set_hedge_mode(self, on: bool) -> None:
        self.call("POST", "hedge-mode", {"dualSidePosition": on})

    # the exchange itself

    def set_clock_offset(self, offset_ms: int) -> None:
        """Turns the exchange's clock against the machine's."""
        self.call("POST", "clock", {"offset_ms": offset_ms})

    def now_ms(self) -> int:
        return int(self.call("GET", "clock")["now_ms"])

    def add_fault(self, **rule: object) -> int:
        """The rule's id. Fields as in the README's table of fault rules."""
        return int(self.call("POST", "faults", rule)["id"])

    def faults(self) -> list[dict[str, Any]]:
        rules: list[dict[str, Any]] = self.call("GET", "faults")["faults"]
        return rules

    def clear_faults(self, rule_id: int | None = None) -> None:
        self.call("DELETE", "faults", id=rule_id)

    def set_latency(self, latency_ms: int) -> None:
        self.call("POST", "settings", {"latency_ms": latency_ms})

    def set_post_averages(self, on: bool) -> None:
        self.call("POST", "settings", {"post_averages": on})

    def set_limits(self, **limits: int) -> None:
        """weight_1m, orders_10s, orders_1m (0: none), strikes, ban_ms. Forgets all counts."""
        self.call("POST", "limits", limits)

    def ban(self, for_ms: int, address: str = "127.0.0.1") -> None:
        self.call("POST", "ban", {"for_ms": for_ms, "address": address})

    def add_key(self, api_key: str, secret_key: str, *, may_trade: bool = True) -> None:
        body = {"api_key": api_key, "secret_key": secret_key, "may_trade": may_trade}
        self.call("POST", "keys", body)

    def revoke_key(self, api_key: str) -> None:
        self.call("DELETE", "keys", api_key=api_key)

    def reset(self) -> None:
        """As freshly started: balances, prices, faults, limits, keys, clock, journal."""
        self.call("POST", "reset")


def _fill(row: Mapping[str, Any]) -> FillRecord:
    return FillRecord(
        trade_id=row["id"],
        order_id=row["orderId"],
        client_order_id=row["clientOrderId"],
        symbol=row["symbol"],
        side=row["side"],
        price=Decimal(row["price"]),
        qty=Decimal(row["qty"]),
        realized_pnl=Decimal(row["realizedPnl"]),
        commission=Decimal(row["commission"]),
        actor=row["actor"],
        time_ms=row["time"],
    )
