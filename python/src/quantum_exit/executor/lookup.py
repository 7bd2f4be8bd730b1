"""What the exchange's own books say about an order, and when their silence is proof."""

from __future__ import annotations

from typing import Final

from quantum_exit.binance.client import Client
from quantum_exit.binance.model import AlgoAck, AlgoCancelAck, AlgoNotFound, OrderAck, OrderNotFound
from quantum_exit.executor.grant import OpenGrant, client_id_prefix
from quantum_exit.messages import OrderType

_MOST_ORDERS: Final = 1_000
_CANCELLED: Final = frozenset({"CANCELED", "CANCELLED"})


def look_up(client: Client, grant: OpenGrant) -> OrderAck | AlgoAck | AlgoCancelAck | None:
    """The order by its client id; of a cancellation whether the stop is cancelled.

    None: the exchange does not know it *now*. Raises ReadFailed.
    """
    if grant.type is OrderType.MARKET:
        order = client.query_order(grant.symbol, grant.client_order_id)
        return None if isinstance(order, OrderNotFound) else order
    algo = client.query_algo(grant.client_order_id)
    if isinstance(algo, AlgoNotFound):
        return None
    if grant.type is OrderType.STOP_MARKET:
        return algo
    if algo.status in _CANCELLED:
        return AlgoCancelAck(algo.algo_id, algo.client_algo_id)
    return None


def find_any_attempt(
    client: Client, grant: OpenGrant, since_ms: int
) -> OrderAck | AlgoAck | AlgoCancelAck | None:
    """What became of a plan whose attempts Redis has forgotten: one that filled, if any did.

    Stops keep one id through all attempts; orders are found by the beginning of theirs.
    `since_ms`: no attempt is older, on the exchange's clock. Raises ReadFailed.
    """
    if grant.type is not OrderType.MARKET:
        return look_up(client, grant)
    prefix = client_id_prefix(grant.identity)
    found = client.all_orders(grant.symbol, start_ms=since_ms, limit=_MOST_ORDERS)
    attempts = [order for order in found if order.client_order_id.startswith(prefix)]
    attempts.sort(key=lambda order: (order.executed_qty > 0, not order.final))
    return attempts[-1] if attempts else look_up(client, grant)


def has_unexplained_trade(client: Client, grant: OpenGrant) -> bool:
    """Whether a fill since the signing time could be this order's. Raises ReadFailed.

    An order that the look-up by client id misses may already have traded: each trade of its
    side is followed to its order, and must belong to another one.
    """
    if grant.type is not OrderType.MARKET:
        return False
    trades = client.user_trades(grant.symbol, start_ms=grant.timestamp_ms)
    suspects = {trade.order_id for trade in trades if trade.side == grant.side.value}
    return any(
        client.order_by_id(grant.symbol, order_id).client_order_id == grant.client_order_id
        for order_id in suspects
    )
