"""From what the exchange said to what the plan ended in. Pure."""

from __future__ import annotations

from decimal import Decimal

from quantum_exit.binance.errors import Refused
from quantum_exit.binance.model import AlgoAck, AlgoCancelAck, OrderAck
from quantum_exit.executor.grant import OpenGrant
from quantum_exit.executor.result import Fill, Result
from quantum_exit.gates.model import Denial, Outcome
from quantum_exit.values import (
    InvalidNumberError,
    OrderSide,
    format_epoch,
    format_number,
    parse_amount,
)


def of_grant(grant: OpenGrant, outcome: Outcome, error: str, fill: Fill | None = None) -> Result:
    return Result(
        plan_id=grant.plan_id,
        symbol=grant.symbol,
        side=grant.side.value,
        qty=format_number(grant.qty),
        plan_source=grant.source,
        lane=grant.lane,
        outcome=outcome,
        error=error,
        fill=fill,
        extra={"attempt": str(grant.attempt), "signed_ms": str(grant.timestamp_ms)},
    )


def of_order(grant: OpenGrant, ack: OrderAck) -> Result:
    """A final order. One that ended without any fill is an error by its status."""
    fill = Fill(
        order_id=str(ack.order_id),
        client_order_id=ack.client_order_id,
        filled_qty=ack.executed_qty,
        order_status=ack.status,
        qty=ack.orig_qty,
        avg_price=ack.avg_price,
    )
    if ack.executed_qty > 0:
        return of_grant(grant, Outcome.EXECUTED, "", fill)
    return of_grant(grant, Outcome.ERROR, f"binance_error:0:order {ack.status} unfilled", fill)


def of_algo(grant: OpenGrant, ack: AlgoAck) -> Result:
    """A stop that rests is an executed plan, with nothing filled yet. One that was taken and then
    rejected, as a search for it may find, protects nothing."""
    fill = Fill(str(ack.algo_id), ack.client_algo_id, Decimal(0), ack.status, ack.quantity)
    if ack.status == "REJECTED":
        return of_grant(grant, Outcome.ERROR, f"binance_error:0:stop {ack.status}", fill)
    return of_grant(grant, Outcome.EXECUTED, "", fill)


def of_cancel(grant: OpenGrant, ack: AlgoCancelAck) -> Result:
    fill = Fill(str(ack.algo_id), ack.client_algo_id, Decimal(0), "CANCELED", Decimal(0))
    return of_grant(grant, Outcome.EXECUTED, "", fill)


def of_refusal(grant: OpenGrant, refused: Refused) -> Result:
    code = refused.http_status if refused.code is None else refused.code
    return of_grant(grant, Outcome.ERROR, f"binance_error:{code}:{refused.msg}")


def of_denial(grant: OpenGrant, denial: Denial) -> Result:
    return of_grant(grant, denial.outcome, denial.error)


def _ledger_amount(text: str) -> Decimal:
    """A broken ledger begins anew at zero: it must stop no exit, and P3.3 sees the mismatch."""
    try:
        return parse_amount(text or "0")
    except InvalidNumberError:
        return Decimal(0)


def ledger_after(side: OrderSide, fill: Fill, now_epoch: float, before: str) -> tuple[str, ...]:
    """The symbol's ledger with this fill added to the amount `before`."""
    amount = _ledger_amount(before) + side.sign * fill.filled_qty
    return (
        *("position_amt", format_number(amount)),
        *("last_order_id", fill.order_id),
        *("last_filled_qty", format_number(fill.filled_qty)),
        *("updated_at", format_epoch(now_epoch)),
    )
