"""What the exchange itself says: the account, and whether our last order is in its books."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, Final, TypeVar, cast

import redis

from quantum_exit import keys
from quantum_exit.binance.client import Client, ClientFactory
from quantum_exit.binance.errors import INVALID_SYMBOL, ExchangeError, ReadFailed
from quantum_exit.binance.model import Credentials, OrderNotFound, Position
from quantum_exit.binance.rate import WEIGHT_PER_MIN
from quantum_exit.brain.track import Track
from quantum_exit.proofs import host, observe
from quantum_exit.proofs.model import Check, Figure, Outcome
from quantum_exit.settings import ConfigError, ExchangeSettings
from quantum_exit.values import (
    InvalidNumberError,
    PositionSide,
    Unknown,
    format_number,
    parse_number,
)

Listed = TypeVar("Listed")

TIMEOUT_S: Final = 5.0
BOOKS_KEPT_S: Final = 89 * 86_400.0
"""An order is unknown to the exchange after 90 days."""
EXECUTOR_ENV_FILE: Final = "/etc/quantum/intent-executor.env"
_SHOWN: Final = 20
_ADOPTION_S: Final = 3.0
_POLL_S: Final = 0.05
_PAGE: Final = 500
_ONE_BY_ONE_AT_MOST: Final = 12
_LOOK_BACK: Final = 20_000


def make_client(environ: Mapping[str, str]) -> Client | Unknown:
    """A client with the credentials of this process. Unknown when they are not set right."""
    try:
        settings = ExchangeSettings.from_environ(environ)
        credentials = Credentials(settings.api_key, settings.api_secret)
    except (ConfigError, ValueError) as error:
        return Unknown(str(error))
    return ClientFactory(credentials, settings.base_url, timeout_s=TIMEOUT_S).make()


def account_test(client: Client | Unknown, bus: redis.Redis, environ: Mapping[str, str]) -> Check:
    """Signed reads of balance, positions and open orders; each position has its stop. That the
    policy names what is not traded is no reason to wake anybody: it fails, and not critically."""
    name, key = "Exchange reachable with balance, positions and open orders", "exchange"
    if isinstance(client, Unknown):
        return Check(key, name, Outcome.FAIL, (client.why,), critical=True)
    try:
        balances = client.balances()
        positions = [position for position in client.positions() if position.amount]
        symbols = _asked_one_by_one(bus, positions)
        held_in = {position.symbol for position in positions}
        orders, gone = _of_each(client.open_orders, symbols, held_in)
        symbols = [symbol for symbol in symbols if symbol not in gone]
        stops, gone_too = _of_each(client.open_algo_orders, symbols, held_in)
        gone += gone_too
    except ReadFailed as error:
        return Check(key, name, Outcome.FAIL, (str(error),), critical=True)
    held = [f"{b.asset} {format_number(b.wallet)}" for b in balances if b.wallet]
    bare = _without_stop(positions, bus)
    evidence = [
        f"balance: {', '.join(held) or 'none: an empty account is no answer to rely on'}",
        *(_told(position, position.symbol in bare) for position in positions[:_SHOWN]),
        f"{len(positions)} position(s), {len(orders)} open order(s), {len(stops)} resting stop(s)"
        + (f" in {', '.join(symbols)}" if symbols else ""),
    ]
    if bare:
        evidence.append(f"without a stop in the Exit Brain: {', '.join(sorted(bare))}")
    if gone:
        evidence.append(
            f"the exchange does not trade {', '.join(gone)}: take it out of the policy "
            "(universe_symbols) and deploy"
        )
    if shares_trading_key(environ):
        evidence.append("⚠️ the readers use the trading key: give them a key pair of their own")
    fine = bool(held) and not bare
    outcome = Outcome.PASS if fine and not gone else Outcome.FAIL
    figures = (
        Figure("positions", len(positions)),
        Figure("without_stop", len(bare), most=0),
        Figure("weight_used", client.rate.used_weight, most=WEIGHT_PER_MIN),
    )
    critical = not (fine and gone)
    return Check(key, name, outcome, tuple(evidence), critical=critical, figures=figures)


def _asked_one_by_one(bus: redis.Redis, positions: Sequence[Position]) -> list[str]:
    """Symbols to ask about one by one, at a weight of 1 each: the held ones and the policy's.
    Empty: there are so many that it is cheaper to ask about all at once, at a weight of 40."""
    listed = observe.load_json(observe.read_hash(bus, keys.POLICY_CURRENT).get("universe_symbols"))
    policy = [s for s in listed if isinstance(s, str)] if isinstance(listed, list) else []
    symbols = sorted({*policy, *(position.symbol for position in positions)})
    return symbols if len(symbols) <= _ONE_BY_ONE_AT_MOST else []


def _of_each(
    ask: Callable[[str | None], list[Listed]], symbols: Sequence[str], held_in: Collection[str]
) -> tuple[list[Listed], list[str]]:
    """The answers, and the symbols that the exchange does not trade. Raises ReadFailed."""
    if not symbols:
        return ask(None), []
    listed: list[Listed] = []
    gone = []
    for symbol in symbols:
        found = unless_gone(partial(ask, symbol))
        if found is None and symbol in held_in:
            raise ReadFailed(f"{symbol} is held, and the exchange does not trade it")
        listed += found or []
        gone += [symbol] if found is None else []
    return listed, gone


def unless_gone(ask: Callable[[], list[Listed]]) -> list[Listed] | None:
    """None when the exchange does not trade the symbol. Raises ReadFailed."""
    try:
        return ask()
    except ExchangeError as error:
        if error.code == INVALID_SYMBOL:
            return None
        raise


def shares_trading_key(environ: Mapping[str, str]) -> bool:
    """Whether our own key is the executor's, as far as its file may be read. The exchange
    itself tells only what the account may do, not the key."""
    theirs = host.read_env_file(EXECUTOR_ENV_FILE)
    ours = environ.get("BINANCE_API_KEY", "")
    return isinstance(theirs, dict) and theirs.get("BINANCE_API_KEY") == ours


def _told(position: Position, bare: bool) -> str:
    what = f"{position.symbol} {format_number(position.amount)}"
    at = f"at {format_number(position.entry_price)}, mark {format_number(position.mark_price)}"
    return f"position: {what} {at}{', NO STOP' if bare else ''}"


def _without_stop(positions: Sequence[Position], bus: redis.Redis) -> set[str]:
    """Symbols whose position the brain does not guard, after it had time to take it up."""
    deadline = time.monotonic() + _ADOPTION_S
    while True:
        tracks = observe.read_tracks(bus)
        bare = {p.symbol for p in positions if not _guarded(p, tracks.get(p.symbol))}
        if not bare or time.monotonic() > deadline:
            return bare
        time.sleep(_POLL_S)


def _guarded(position: Position, track: Track | None) -> bool:
    return track is not None and track.rules.side is PositionSide.of(position.amount)


@dataclass(frozen=True, slots=True)
class ExecutedResult:
    """The newest result of ours that filled something."""

    plan_id: str
    symbol: str
    order_id: str
    client_order_id: str
    filled_qty: Decimal
    timestamp: str

    def age_s(self, now_epoch: float) -> float:
        """0 for one that does not say when it was."""
        try:
            return now_epoch - float(self.timestamp)
        except ValueError:
            return 0.0


def last_executed(client: redis.Redis) -> ExecutedResult | None:
    """From the newest entries backwards; None when nothing was executed lately. What was
    executed before the host moved to another environment is in that one's books."""
    begin = observe.read_hash(client, keys.ENVIRONMENT).get("results_after")
    first = f"({begin}" if begin else "-"
    end, looked_at = "+", 0
    while looked_at < _LOOK_BACK:
        page = cast("list[Any]", client.xrevrange(keys.APPLY_RESULT, end, first, _PAGE))
        for _, fields in page:
            found = _executed(fields)
            if found:
                return found
        if len(page) < _PAGE:
            return None
        looked_at += len(page)
        end = f"({page[-1][0]}"
    return None


def _executed(fields: Mapping[str, str]) -> ExecutedResult | None:
    try:
        filled = parse_number(fields.get("filled_qty", ""))
    except InvalidNumberError:
        return None
    if fields.get("executed") != "true" or not filled:
        return None
    return ExecutedResult(
        plan_id=fields.get("plan_id", ""),
        symbol=fields.get("symbol", ""),
        order_id=fields.get("order_id", ""),
        client_order_id=fields.get("client_order_id", ""),
        filled_qty=filled,
        timestamp=fields.get("timestamp", ""),
    )


def history_test(client: Client | Unknown, bus: redis.Redis) -> Check:
    """The last order we say was executed, as it stands in the exchange's own books."""
    name, key = "Order history: our last executed order is in the exchange's books", "history"
    last = last_executed(bus)
    if last is None:
        return Check(key, name, Outcome.INFO, ("no order was executed yet",))
    if isinstance(client, Unknown):
        return Check(key, name, Outcome.FAIL, (client.why,))
    ours = f"plan {last.plan_id}: {last.symbol} filled {format_number(last.filled_qty)}"
    try:
        order = client.query_order(last.symbol, last.client_order_id)
    except (ReadFailed, ValueError) as error:
        if isinstance(error, ExchangeError) and error.code == INVALID_SYMBOL:
            told = (ours, "the exchange does not trade it any more, and tells nothing of it")
            return Check(key, name, Outcome.INFO, told)
        return Check(key, name, Outcome.FAIL, (ours, str(error)))
    if isinstance(order, OrderNotFound):
        if last.age_s(time.time()) > BOOKS_KEPT_S:
            told = (ours, "longer ago than the exchange keeps its books")
            return Check(key, name, Outcome.INFO, told)
        evidence = (ours, f"the exchange knows no order {last.client_order_id}")
        return Check(key, name, Outcome.FAIL, evidence)
    theirs = (
        f"exchange: order {order.order_id} {order.side} {order.type} "
        f"reduceOnly={str(order.reduce_only).lower()} {order.status}, "
        f"filled {format_number(order.executed_qty)}"
    )
    same = str(order.order_id) == last.order_id and order.executed_qty == last.filled_qty
    outcome = Outcome.PASS if same else Outcome.FAIL
    note = () if same else (f"they differ: our result says order {last.order_id}",)
    return Check(key, name, outcome, (ours, theirs, *note))
