"""Position snapshots as they lie in Redis: one hash a symbol, and one about all of them.

A symbol without a hash is flat if the whole account was observed without it just now;
otherwise nothing is known of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from quantum_exit.values import (
    InvalidNumberError,
    PositionSide,
    Stale,
    Unknown,
    format_epoch,
    format_number,
    parse_amount,
    parse_number,
)

STALE_AFTER_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class SeenPosition:
    """One symbol on the exchange, observed at `ts_epoch` (Unix seconds)."""

    symbol: str
    amount: Decimal
    """Signed: above zero long, below zero short."""
    ts_epoch: float

    @property
    def side(self) -> PositionSide:
        return PositionSide.of(self.amount)


PositionView = SeenPosition | Stale | Unknown


def snapshot_fields(
    *,
    amount: Decimal,
    entry_price: Decimal,
    mark_price: Decimal,
    leverage: int | None,
    unrealized_pnl: Decimal,
    ts_epoch: float,
) -> dict[str, str]:
    """The hash of one symbol. An unknown leverage is left out."""
    fields = {
        "position_amt": format_number(amount),
        "side": PositionSide.of(amount).value,
        "entry_price": format_number(entry_price),
        "mark_price": format_number(mark_price),
        "unrealized_pnl": format_number(unrealized_pnl),
        "ts_epoch": format_epoch(ts_epoch),
    }
    if leverage is not None:
        fields["leverage"] = str(leverage)
    return fields


def view_position(
    symbol: str, row: Mapping[bytes, bytes], state: Mapping[bytes, bytes], now_epoch: float
) -> PositionView:
    """`row`: the symbol's snapshot hash; `state`: the hash about all of them; empty when missing.

    Never raises.
    """
    if not row:
        return _absent(symbol, state, now_epoch)
    try:
        amount = parse_amount(row.get(b"position_amt", b"").decode())
        ts_epoch = float(parse_number(row.get(b"ts_epoch", b"").decode()))
    except (InvalidNumberError, UnicodeDecodeError):
        return Unknown("malformed snapshot")
    return _unless_stale(SeenPosition(symbol, amount, ts_epoch), now_epoch)


def _absent(symbol: str, state: Mapping[bytes, bytes], now_epoch: float) -> PositionView:
    try:
        ts_epoch = float(parse_number(state.get(b"ts_epoch", b"").decode()))
        held = json.loads(state.get(b"symbols", b""))
    except (InvalidNumberError, ValueError, RecursionError):
        return Unknown("never observed")
    if not isinstance(held, list) or symbol in held:
        return Unknown("its snapshot is missing")
    return _unless_stale(SeenPosition(symbol, Decimal(0), ts_epoch), now_epoch)


def _unless_stale(position: SeenPosition, now_epoch: float) -> SeenPosition | Stale:
    age_s = now_epoch - position.ts_epoch
    # A snapshot from the future is no better than an old one: one of the clocks is wrong.
    return position if -STALE_AFTER_S <= age_s <= STALE_AFTER_S else Stale(age_s)
