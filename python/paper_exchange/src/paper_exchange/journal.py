"""Every order request that arrived, and what became of it: the witness of the tests.

`at_s` fields are the machine's monotonic clock, comparable between processes of one machine;
`_ms` fields are the exchange's own clock.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum

_KEPT = 50_000


class Outcome(StrEnum):
    PENDING = "pending"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    DROPPED = "dropped"
    """The connection was cut, or another answer given, before the order was looked at."""


class Reply(StrEnum):
    PENDING = "pending"
    SENT = "sent"
    REPLACED = "replaced"
    DROPPED = "dropped"


@dataclass(slots=True)
class Entry:
    seq: int
    method: str
    path: str
    params: dict[str, str]
    client_order_id: str
    timestamp_ms: int | None
    recv_window_ms: int | None
    api_key: str
    is_order: bool
    arrived_ms: int
    arrived_at_s: float = field(default_factory=time.monotonic)
    outcome: Outcome = Outcome.PENDING
    decided_ms: int | None = None
    decided_at_s: float | None = None
    order_id: int | None = None
    accepted_qty: str | None = None
    code: int | None = None
    msg: str | None = None
    reply: Reply = Reply.PENDING

    def decide(self, outcome: Outcome, now_ms: int) -> None:
        self.outcome = outcome
        self.decided_ms = now_ms
        self.decided_at_s = time.monotonic()

    def refuse(self, code: int, msg: str, now_ms: int) -> None:
        self.code, self.msg = code, msg
        self.decide(Outcome.REFUSED, now_ms)

    def accept(self, answer: object, now_ms: int) -> None:
        """`answer`: the body that the exchange gives; ids and quantity are taken from it."""
        if isinstance(answer, dict):
            self.order_id = answer.get("orderId") or answer.get("algoId")
            self.accepted_qty = answer.get("origQty") or answer.get("quantity")
            self.client_order_id = (
                answer.get("clientOrderId") or answer.get("clientAlgoId") or self.client_order_id
            )
        self.decide(Outcome.ACCEPTED, now_ms)

    def as_json(self) -> dict[str, object]:
        return asdict(self)


class Journal:
    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=_KEPT)
        self._last = 0

    def open(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        api_key: str,
        *,
        is_order: bool,
        now_ms: int,
    ) -> Entry:
        """The secret-free part of a request; the signature is not kept."""
        self._last += 1
        entry = Entry(
            seq=self._last,
            method=method,
            path=path,
            params={k: v for k, v in params.items() if k != "signature"},
            client_order_id=params.get("newClientOrderId")
            or params.get("clientAlgoId")
            or params.get("origClientOrderId")
            or "",
            timestamp_ms=_integer(params.get("timestamp")),
            recv_window_ms=_integer(params.get("recvWindow")),
            api_key=api_key,
            is_order=is_order,
            arrived_ms=now_ms,
        )
        self._entries.append(entry)
        return entry

    def since(self, seq: int) -> list[Entry]:
        """Entries with a greater number, oldest first."""
        return [entry for entry in self._entries if entry.seq > seq]

    def clear(self) -> None:
        """Numbers go on, so `since` keeps working."""
        self._entries.clear()


def _integer(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) <= 20 else None
