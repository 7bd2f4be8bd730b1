"""The paper exchange's control interface, over plain HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import requests

_TIMEOUT_S: Final = 10.0
Document = dict[str, Any]


class PaperError(Exception):
    """The paper exchange refused or did not answer; the text says what."""


class Paper:
    """`base_url`: where the exchange listens; `token`: its control token, if it asks for one."""

    def __init__(self, base_url: str, token: str = "") -> None:
        self._base_url = base_url.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False
        if token:
            self._session.headers["X-Paper-Control"] = token

    def now_ms(self) -> int:
        """Its clock; also tells whether it answers at all, and is a paper exchange."""
        return int(self._call("GET", "/paper/health")["now_ms"])

    def price(self, symbol: str) -> Decimal:
        prices = self._call("GET", "/paper/prices")
        if symbol not in prices:
            raise PaperError(f"the paper exchange does not list {symbol}")
        return Decimal(prices[symbol])

    def set_price(self, symbol: str, price: Decimal) -> None:
        self._call("POST", "/paper/prices", json={symbol: str(price)})

    def amount(self, symbol: str) -> Decimal:
        """The position as the exchange has it, signed."""
        position = self._call("GET", "/paper/state")["positions"].get(symbol)
        return Decimal(position["amount"]) if position else Decimal(0)

    def play_file(self, symbol: str, file: Path, content: bytes, speed: float) -> Document:
        """Minutes of the file a real minute; 0 sets its first price and waits."""
        params = {"symbol": symbol, "speed": f"{speed:g}", "name": file.name}
        headers = {"Content-Type": "application/octet-stream"}
        document: Document = self._call(
            "POST", "/paper/replay", params=params, data=content, headers=headers
        )
        return document

    def play_fall(self, symbol: str, depth_pct: Decimal, seed: int, speed: float) -> Document:
        """A made-up fall from the present price, the same for the same seed."""
        body = {"symbol": symbol, "depth_pct": str(depth_pct), "minutes": 10, "seed": seed}
        document: Document = self._call("POST", "/paper/fall", json={**body, "speed": f"{speed:g}"})
        return document

    def replay(self, symbol: str) -> Document | None:
        """How far the replay of the symbol is."""
        replays = self._call("GET", "/paper/replay")["replays"]
        return next((replay for replay in replays if replay["symbol"] == symbol), None)

    def stop_replay(self, symbol: str) -> None:
        self._call("DELETE", "/paper/replay", params={"symbol": symbol})

    def order(self, client_order_id: str) -> Document | None:
        """What its journal holds of the order that was accepted under this id."""
        for entry in self._call("GET", "/paper/orders")["orders"]:
            if entry["client_order_id"] == client_order_id and entry["outcome"] == "accepted":
                return dict(entry)
        return None

    def _call(
        self,
        method: str,
        path: str,
        *,
        json: Mapping[str, object] | None = None,
        params: Mapping[str, str] | None = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        try:
            answer = self._session.request(
                method,
                f"{self._base_url}{path}",
                json=json,
                params=params,
                data=data,
                headers=headers,
                timeout=_TIMEOUT_S,
            )
        except requests.RequestException as error:
            raise PaperError(f"no answer from {self._base_url}: {type(error).__name__}") from None
        try:
            document = answer.json()
        except requests.JSONDecodeError:
            raise PaperError(
                f"{self._base_url}{path} answers HTTP {answer.status_code}: not a paper exchange"
            ) from None
        if not answer.ok:
            said = document.get("error") or document.get("msg") or document
            raise PaperError(f"the paper exchange refuses: {said}")
        return document
