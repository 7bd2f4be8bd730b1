"""Request weight per address and minute, orders per account: 429, and 418 for who goes on."""

from __future__ import annotations

from dataclasses import dataclass

from ..domain.refusals import Refused

_TEN_SECONDS_MS = 10_000
_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """0 means unlimited. Who is answered 429 `strikes` times in a row is banned for `ban_ms`."""

    weight_1m: int = 2_400
    orders_10s: int = 300
    orders_1m: int = 1_200
    strikes: int = 10
    ban_ms: int = 120_000

    def as_rate_limits(self) -> list[dict[str, object]]:
        """The list in `exchangeInfo`; what is unlimited here is shown very large."""
        rows = (
            ("REQUEST_WEIGHT", "MINUTE", 1, self.weight_1m),
            ("ORDERS", "MINUTE", 1, self.orders_1m),
            ("ORDERS", "SECOND", 10, self.orders_10s),
        )
        return [
            {
                "rateLimitType": kind,
                "interval": interval,
                "intervalNum": number,
                "limit": limit or 1_000_000_000,
            }
            for kind, interval, number, limit in rows
        ]


class _Window:
    """Counts within windows that begin at multiples of their length, as the real ones do."""

    def __init__(self, length_ms: int) -> None:
        self._length_ms = length_ms
        self._start = 0
        self._count = 0

    def add(self, amount: int, now_ms: int) -> int:
        start = now_ms // self._length_ms
        if start != self._start:
            self._start, self._count = start, 0
        self._count += amount
        return self._count


class Limiter:
    def __init__(self, settings: LimitSettings) -> None:
        self.settings = settings
        self.forget()

    def forget(self) -> None:
        self._weights: dict[str, _Window] = {}
        self._orders_10s = _Window(_TEN_SECONDS_MS)
        self._orders_1m = _Window(_MINUTE_MS)
        self._strikes: dict[str, int] = {}
        self._banned_until_ms: dict[str, int] = {}

    def ban(self, address: str, until_ms: int) -> None:
        self._banned_until_ms[address] = until_ms

    def charge(self, address: str, weight: int, now_ms: int) -> int:
        """The weight used in this minute. Raises Refused: 429 over the limit, 418 while banned."""
        until_ms = self._banned_until_ms.get(address, 0)
        if now_ms < until_ms:
            raise _banned(address, until_ms)
        used = self._weights.setdefault(address, _Window(_MINUTE_MS)).add(weight, now_ms)
        limit = self.settings.weight_1m
        if not limit or used <= limit:
            self._strikes.pop(address, None)
            return used
        strikes = self._strikes[address] = self._strikes.get(address, 0) + 1
        if strikes >= self.settings.strikes:
            self._strikes.pop(address)
            self.ban(address, now_ms + self.settings.ban_ms)
            raise _banned(address, now_ms + self.settings.ban_ms)
        raise Refused(
            -1003,
            f"Too many requests; current limit is {limit} requests per minute. "
            "Please use the websocket for live updates to avoid polling the API.",
            429,
        )

    def used_weight(self, address: str, now_ms: int) -> int:
        window = self._weights.get(address)
        return window.add(0, now_ms) if window else 0

    def count_order(self, now_ms: int) -> None:
        """Counts one order, also one that is refused later. Raises Refused over the limit."""
        for window, limit, per in (
            (self._orders_10s, self.settings.orders_10s, "10 SECOND"),
            (self._orders_1m, self.settings.orders_1m, "1 MINUTE"),
        ):
            if limit and window.add(0, now_ms) >= limit:
                raise Refused(
                    -1015,
                    f"Too many new orders; current limit is {limit} orders per {per}.",
                    429,
                )
        self._orders_10s.add(1, now_ms)
        self._orders_1m.add(1, now_ms)

    def order_headers(self, now_ms: int) -> dict[str, str]:
        return {
            "X-MBX-ORDER-COUNT-10S": str(self._orders_10s.add(0, now_ms)),
            "X-MBX-ORDER-COUNT-1M": str(self._orders_1m.add(0, now_ms)),
        }


def _banned(address: str, until_ms: int) -> Refused:
    return Refused(
        -1003,
        f"Way too many requests; IP({address}) banned until {until_ms}. "
        "Please use the websocket for live updates to avoid bans.",
        418,
    )
