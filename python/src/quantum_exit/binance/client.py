"""The endpoints of the USD-M futures REST API that we use, one method each.

Reads return values or raise `ReadFailed` (errors.py); writes are signed by one method, sent
by another, and end in an `Outcome`. A client belongs to one thread; see `ClientFactory`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar

from quantum_exit.binance import parse
from quantum_exit.binance.clock import ExchangeClock
from quantum_exit.binance.errors import NO_SUCH_ORDER, ExchangeError, Outcome
from quantum_exit.binance.fields import Malformed, as_object, decode_json, flag
from quantum_exit.binance.model import (
    Account,
    AlgoAck,
    AlgoCancelAck,
    AlgoNotFound,
    Balance,
    Credentials,
    Kline,
    LeverageSetting,
    MarkPrice,
    OrderAck,
    OrderNotFound,
    Position,
    PositionRows,
    SymbolConfig,
    SymbolRules,
    Trade,
    TradingIndicator,
)
from quantum_exit.binance.orders import check_client_id
from quantum_exit.binance.rate import RateState
from quantum_exit.binance.requester import Requester
from quantum_exit.binance.signing import SignedRequest

Value = TypeVar("Value")

ORDER = "/fapi/v1/order"
ALGO_ORDER = "/fapi/v1/algoOrder"


class Client(Requester):
    """One thread's connection to the exchange. Constructor arguments as for `Requester`."""

    # Market

    def ping(self) -> None:
        """Opens the connection, or keeps it open: the next order need not wait for TLS."""
        self.get("/fapi/v1/ping", {}, _json(as_object))

    def exchange_info(self) -> dict[str, SymbolRules]:
        """The order rules of every symbol. About 1 MB on the wire: keep the result."""
        return self.get("/fapi/v1/exchangeInfo", {}, parse.exchange_rules)

    def marks(self) -> dict[str, MarkPrice]:
        """The mark prices of all symbols with their times, in one call."""
        return self.get("/fapi/v1/premiumIndex", {}, _json(parse.mark_prices))

    def mark_prices(self) -> dict[str, Decimal]:
        """The mark prices of all symbols, in one call."""
        return {symbol: mark.price for symbol, mark in self.marks().items()}

    def klines(self, symbol: str, interval: str, limit: int = 500) -> list[Kline]:
        """The last `limit` candles, oldest first; the last one is still open."""
        params = {"symbol": symbol, "interval": interval, "limit": str(limit)}
        return self.get("/fapi/v1/klines", params, _json(parse.klines))

    # Account

    def positions(self) -> list[Position]:
        """Every symbol with a position or an open order; a flat account gives []."""
        return self.get_signed("/fapi/v3/positionRisk", {}, _json(parse.positions))

    def position_rows(self) -> PositionRows:
        """As `positions`; a row that cannot be read leaves the others readable."""
        return self.get_signed("/fapi/v3/positionRisk", {}, _json(parse.position_rows))

    def symbol_configs(self) -> dict[str, SymbolConfig]:
        """Leverage and margin type by symbol."""
        return self.get_signed("/fapi/v1/symbolConfig", {}, _json(parse.symbol_configs))

    def max_leverages(self) -> dict[str, int]:
        """The highest leverage allowed by symbol."""
        return self.get_signed("/fapi/v1/leverageBracket", {}, _json(parse.max_leverages))

    def dual_side(self) -> bool:
        """True in hedge mode. Weighs 30: ask at start, not in a loop."""
        path = "/fapi/v1/positionSide/dual"
        return self.get_signed(
            path, {}, _json(lambda value: flag(as_object(value), "dualSidePosition"))
        )

    def balances(self) -> list[Balance]:
        return self.get_signed("/fapi/v3/balance", {}, _json(parse.balances))

    def account(self) -> Account:
        """Totals and whether the key may trade."""
        return self.get_signed("/fapi/v2/account", {}, _json(parse.account))

    def api_trading_status(self) -> list[TradingIndicator]:
        """The exchange's quantitative rules; a locked one means orders are refused."""
        return self.get_signed("/fapi/v1/apiTradingStatus", {}, _json(parse.trading_indicators))

    def leverage(self, symbol: str, leverage: int) -> LeverageSetting:
        """Set the leverage of a symbol. Repeating it changes nothing."""
        params = {"symbol": symbol, "leverage": str(leverage)}
        return self.change("/fapi/v1/leverage", params, _json(parse.leverage_setting))

    # Orders: reads

    def open_orders(self, symbol: str | None = None) -> list[OrderAck]:
        """Open orders; without a symbol it weighs 40. Conditional orders are not among them."""
        return self.get_signed(
            "/fapi/v1/openOrders", _given(symbol=symbol), _json(parse.order_list)
        )

    def all_orders(
        self,
        symbol: str,
        *,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int = 500,
    ) -> list[OrderAck]:
        """Orders of the last days (7 at most between start and end), oldest first."""
        params = _given(symbol=symbol, startTime=start_ms, endTime=end_ms, limit=limit)
        return self.get_signed("/fapi/v1/allOrders", params, _json(parse.order_list))

    def user_trades(
        self,
        symbol: str,
        *,
        order_id: int | None = None,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int = 1000,
    ) -> list[Trade]:
        """Fills, oldest first; 7 days at most between start and end."""
        params = _given(
            symbol=symbol, orderId=order_id, startTime=start_ms, endTime=end_ms, limit=limit
        )
        return self.get_signed("/fapi/v1/userTrades", params, _json(parse.trades))

    def query_order(self, symbol: str, client_order_id: str) -> OrderAck | OrderNotFound:
        """The order of that id as it is now.

        Not found proves nothing while the request that would create it can still arrive.
        """
        params = {"symbol": symbol, "origClientOrderId": check_client_id(client_order_id)}
        try:
            return self.get_signed(ORDER, params, _json(_order_of(symbol, client_order_id)))
        except ExchangeError as error:
            if error.code != NO_SUCH_ORDER:
                raise
        return OrderNotFound(symbol, client_order_id)

    def order_by_id(self, symbol: str, order_id: int) -> OrderAck:
        """The order that a trade belongs to. Raises `ReadFailed`."""
        params = {"symbol": symbol, "orderId": str(order_id)}
        ack = self.get_signed(ORDER, params, _json(parse.order_ack))
        if (ack.symbol, ack.order_id) != (symbol, order_id):
            raise ExchangeError(200, None, "the answer is about another order", f"GET {ORDER}")
        return ack

    def query_algo(self, client_algo_id: str) -> AlgoAck | AlgoNotFound:
        """The conditional order of that id as it is now; not found as in `query_order`."""
        params = {"clientAlgoId": check_client_id(client_algo_id)}
        try:
            return self.get_signed(ALGO_ORDER, params, _json(_algo_of("", client_algo_id)))
        except ExchangeError as error:
            if error.code != NO_SUCH_ORDER:
                raise
        return AlgoNotFound(client_algo_id)

    def open_algo_orders(self, symbol: str | None = None) -> list[AlgoAck]:
        """Conditional orders that have not triggered; without a symbol it weighs 40."""
        params = _given(symbol=symbol)
        return self.get_signed("/fapi/v1/openAlgoOrders", params, _json(parse.algo_list))

    # Orders: writes

    def sign_order(self, params: Mapping[str, str], timestamp_ms: int) -> SignedRequest:
        """Sign an order (see `orders` for its parameters) for that moment of the exchange."""
        check_client_id(params["newClientOrderId"])
        return self.sign("POST", ORDER, params, timestamp_ms)

    def sign_cancel(self, symbol: str, client_order_id: str, timestamp_ms: int) -> SignedRequest:
        params = {"symbol": symbol, "origClientOrderId": check_client_id(client_order_id)}
        return self.sign("DELETE", ORDER, params, timestamp_ms)

    def sign_algo_order(self, params: Mapping[str, str], timestamp_ms: int) -> SignedRequest:
        check_client_id(params["clientAlgoId"])
        return self.sign("POST", ALGO_ORDER, params, timestamp_ms)

    def sign_algo_cancel(self, client_algo_id: str, timestamp_ms: int) -> SignedRequest:
        params = {"clientAlgoId": check_client_id(client_algo_id)}
        return self.sign("DELETE", ALGO_ORDER, params, timestamp_ms)

    def send_order(self, request: SignedRequest) -> Outcome[OrderAck]:
        """Send a signed order or cancel, once."""
        return self.write(request, _order_of(request.symbol, request.client_id))

    def send_algo_order(self, request: SignedRequest) -> Outcome[AlgoAck]:
        """Send a signed conditional order, once."""
        return self.write(request, _algo_of(request.symbol, request.client_id))

    def send_algo_cancel(self, request: SignedRequest) -> Outcome[AlgoCancelAck]:
        """Send a signed cancel of a conditional order, once."""
        return self.write(request, _algo_cancel_of(request.client_id))

    def send(
        self, request: SignedRequest
    ) -> Outcome[OrderAck] | Outcome[AlgoAck] | Outcome[AlgoCancelAck]:
        """Send whatever was signed, once."""
        if request.path == ORDER:
            return self.send_order(request)
        if request.method == "POST":
            return self.send_algo_order(request)
        return self.send_algo_cancel(request)


@dataclass(frozen=True, slots=True)
class ClientFactory:
    """Makes the clients of a process: a connection for each, clock and rate limits in common.

    `base_url` as `urls.check_base_url` returned it.
    """

    credentials: Credentials | None
    base_url: str
    clock: ExchangeClock = field(default_factory=ExchangeClock)
    rate: RateState = field(default_factory=RateState)
    recv_window_ms: int = 1000
    timeout_s: float = 5.0

    def make(self) -> Client:
        """A client for the calling thread to keep."""
        return Client(
            self.credentials,
            self.base_url,
            clock=self.clock,
            rate=self.rate,
            recv_window_ms=self.recv_window_ms,
            timeout_s=self.timeout_s,
        )


def _json(parse_value: Callable[[Any], Value]) -> Callable[[bytes], Value]:
    return lambda body: parse_value(decode_json(body))


def _given(**params: str | int | None) -> dict[str, str]:
    return {name: str(value) for name, value in params.items() if value is not None}


def _order_of(symbol: str, client_order_id: str) -> Callable[[Any], OrderAck]:
    """Parses an order, and refuses one that is not the one in question."""

    def parse_order(value: Any) -> OrderAck:
        ack = parse.order_ack(value)
        if ack.symbol != symbol or ack.client_order_id != client_order_id:
            raise Malformed("the answer is about another order")
        return ack

    return parse_order


def _algo_of(symbol: str, client_algo_id: str) -> Callable[[Any], AlgoAck]:
    """`symbol` may be empty: a look-up by id alone does not know it."""

    def parse_algo(value: Any) -> AlgoAck:
        ack = parse.algo_ack(value)
        if ack.client_algo_id != client_algo_id or symbol not in ("", ack.symbol):
            raise Malformed("the answer is about another order")
        return ack

    return parse_algo


def _algo_cancel_of(client_algo_id: str) -> Callable[[Any], AlgoCancelAck]:
    def parse_cancel(value: Any) -> AlgoCancelAck:
        ack = parse.algo_cancel_ack(value)
        if ack.client_algo_id != client_algo_id:
            raise Malformed("the answer is about another order")
        return ack

    return parse_cancel
