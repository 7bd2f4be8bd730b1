"""An open grant: the intention to send one order, written before it is sent.

It holds all that a successor needs to find out what became of the order, and to end the plan.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from quantum_exit.messages import OrderType
from quantum_exit.values import OrderSide, format_number

_STOP_PREFIX: Final = "qs-"
_CANCEL: Final = re.compile(rf"cancel:({_STOP_PREFIX}[0-9a-f]{{30}}):[^:]*")


def client_id_prefix(identity: str) -> str:
    """What the ids of all attempts of a plan begin with."""
    return f"qx-{hashlib.sha256(identity.encode()).hexdigest()[:28]}-"


def client_order_id(identity: str, attempt: int) -> str:
    """Derived from the plan and the attempt: whoever recovers the plan derives it again."""
    return f"{client_id_prefix(identity)}{attempt}"


def stop_client_id(intent_id: str) -> str:
    """The id of the resting stop that a PLACE_STOP intent asked for. The brain derives it
    too, to name the stop that it wants cancelled."""
    return _STOP_PREFIX + hashlib.sha256(intent_id.encode()).hexdigest()[:30]


def cancelled_client_id(intent_id: str) -> str | None:
    """A CANCEL_STOP intent's id is `cancel:<client id of the stop>:<attempt>`. None when it
    names no stop of ours: who sends the plan chose it, and the exchange takes no other id."""
    named = _CANCEL.fullmatch(intent_id)
    return None if named is None else named[1]


class GrantState(StrEnum):
    GRANTED = "granted"
    """It may be on its way, or not even sent."""
    UNKNOWN = "unknown"
    """It was sent and nobody knows what became of it."""


@dataclass(frozen=True, slots=True)
class OpenGrant:
    identity: str
    plan_id: str
    source: str
    lane: str
    stream: str
    group: str
    entry_id: str
    symbol: str
    side: OrderSide
    type: OrderType
    qty: Decimal
    reduces: bool
    trigger_price: Decimal | None
    plan_timestamp: Decimal
    client_order_id: str
    attempt: int
    timestamp_ms: int
    """The signing time, on the exchange's clock. After `fence_ms` it is refused."""
    recv_window_ms: int
    kill_exempt: bool = False
    state: GrantState = GrantState.GRANTED

    @property
    def fence_ms(self) -> int:
        return self.timestamp_ms + self.recv_window_ms

    def next_attempt(self, timestamp_ms: int) -> OpenGrant:
        """A stop keeps its id, by which the brain knows it; an order gets a new one."""
        attempt = self.attempt + 1
        new_id = (
            client_order_id(self.identity, attempt)
            if self.type is OrderType.MARKET
            else self.client_order_id
        )
        return replace(
            self,
            attempt=attempt,
            client_order_id=new_id,
            timestamp_ms=timestamp_ms,
            state=GrantState.GRANTED,
        )

    def dump(self) -> str:
        values: dict[str, Any] = {name: getattr(self, name) for name in _FIELDS}
        for name in ("qty", "trigger_price", "plan_timestamp"):
            value = values[name]
            values[name] = None if value is None else format_number(value)
        return _to_json(values)


_FIELDS: Final = tuple(sorted(field.name for field in fields(OpenGrant)))
_to_json: Final = json.JSONEncoder(separators=(",", ":")).encode


def load_grant(text: bytes | str) -> OpenGrant:
    """Raises ValueError, KeyError or TypeError for anything that is not our own grant. A later
    release that was rolled back may have written more: what it means for the order is here."""
    told = json.loads(text)
    values = {name: told[name] for name in _FIELDS if name in told}
    trigger = values["trigger_price"]
    return OpenGrant(
        **{
            **values,
            "side": OrderSide(values["side"]),
            "type": OrderType(values["type"]),
            "qty": Decimal(values["qty"]),
            "trigger_price": None if trigger is None else Decimal(trigger),
            "plan_timestamp": Decimal(values["plan_timestamp"]),
            "state": GrantState(values["state"]),
        }
    )
