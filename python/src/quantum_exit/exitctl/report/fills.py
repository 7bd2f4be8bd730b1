"""What was filled in the period: our own results, completed by the exchange's trades. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from quantum_exit.binance.model import Trade
from quantum_exit.exitctl.activity import Entry, at_epoch
from quantum_exit.exitctl.plain import plain
from quantum_exit.proofs.observe import load_json
from quantum_exit.values import InvalidNumberError, OrderSide, parse_number

NOT_OURS: Final = "no plan of ours"
"""A stop that rested on the exchange, a liquidation, or somebody by hand."""
_LEVEL = re.compile(r"\bthreshold=(\d{1,30}(?:\.\d{1,18})?)(?!\S)")


@dataclass(frozen=True, slots=True)
class Fill:
    symbol: str
    at_epoch: float
    side: OrderSide
    qty: Decimal
    price: Decimal | None
    """None: nobody told."""
    by: str
    reason: str
    order_id: str = ""
    intent_id: str = ""
    """Of the exit intent that it answers; empty when it answers none."""
    entry_price: Decimal | None = None
    """Of the position, as the intent says."""
    level: Decimal | None = None
    """The price whose crossing was the reason."""

    @property
    def signed(self) -> Decimal:
        return self.side.sign * self.qty


def from_results(
    results: Sequence[Entry], intents: Sequence[Entry], plans: Sequence[Entry]
) -> list[Fill]:
    """Oldest first."""
    asked = {f"exit-{fields.get('intent_id', '')}": fields for _, fields in intents}
    reasons = {fields.get("plan_id", ""): fields.get("reason", "") for _, fields in plans}
    found: list[Fill] = []
    for entry_id, fields in results:
        qty = number(fields.get("filled_qty"))
        side = fields.get("side", "")
        if not qty or side not in set(OrderSide):
            continue
        plan_id = fields.get("plan_id", "")
        intent = asked.get(plan_id, {})
        details = load_json(fields.get("details"))
        price = details.get("avg_price") if isinstance(details, dict) else None
        reason = intent.get("reason") or reasons.get(plan_id, "")
        level = _LEVEL.search(intent.get("reason", ""))
        found.append(
            Fill(
                symbol=plain(fields.get("symbol", ""), 40),
                at_epoch=at_epoch(entry_id),
                side=OrderSide(side),
                qty=qty,
                price=number(price),
                by=plain(fields.get("plan_source", ""), 64),
                reason=plain(reason),
                order_id=fields.get("order_id", ""),
                intent_id=plain(intent.get("intent_id", ""), 128),
                entry_price=number(intent.get("entry_price")),
                level=Decimal(level[1]) if level else None,
            )
        )
    return found


def with_trades(fills: Iterable[Fill], trades: Mapping[str, Sequence[Trade]]) -> list[Fill]:
    """Oldest first: prices that no result told, and fills that no result knows."""
    by_order: dict[tuple[str, str], list[Trade]] = {}
    for symbol, several in trades.items():
        for trade in several:
            by_order.setdefault((symbol, str(trade.order_id)), []).append(trade)
    found: list[Fill] = []
    for fill in fills:
        known = by_order.pop((fill.symbol, fill.order_id), None)
        found.append(_priced(fill, known) if known else fill)
    for (symbol, order_id), several in by_order.items():
        qty = sum((trade.qty for trade in several), Decimal(0))
        at = max(trade.time_ms for trade in several) / 1000
        side = OrderSide(several[0].side)
        found.append(Fill(symbol, at, side, qty, _mean(several), NOT_OURS, "", order_id))
    return sorted(found, key=lambda fill: fill.at_epoch)


def _priced(fill: Fill, trades: Sequence[Trade]) -> Fill:
    if fill.price is not None:
        return fill
    return replace(fill, price=_mean(trades))


def _mean(trades: Sequence[Trade]) -> Decimal | None:
    qty = sum((trade.qty for trade in trades), Decimal(0))
    return sum((trade.qty * trade.price for trade in trades), Decimal(0)) / qty if qty else None


def number(text: object) -> Decimal | None:
    """None for whatever is not a number above zero."""
    try:
        value = parse_number(str(text or ""))
    except InvalidNumberError:
        return None
    return value or None
