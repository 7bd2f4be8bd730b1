"""Everything but prices: what happened, what other actors do, clock, keys, limits, reset."""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal

from starlette.requests import Request

from ..domain.orders import Order
from ..domain.values import Actor, Side
from ..replay import Replays
from ..rest import shapes
from ..rest.auth import Credential
from ..rest.limits import LimitSettings
from ..venue import Venue
from .reading import BadControl, Fields, read_fields


class VenueControl:
    def __init__(self, venue: Venue, replays: Replays) -> None:
        self._venue = venue
        self._replays = replays
        self._first_limits = venue.limiter.settings
        self._first_latency_ms = venue.latency_ms
        self._first_averages = venue.post_averages
        self._first_offset_ms = venue.clock.offset_ms

    async def health(self, _: Request) -> object:
        return {"status": "ok", "now_ms": self._venue.clock.now_ms()}

    async def orders(self, request: Request) -> object:
        """What arrived: orders and conditional orders; with `all` every request that may trade."""
        fields = Fields(request.query_params)
        since = fields.integer("since", 0)
        everything = fields.flag("all", default=False)
        fields.refuse_others()
        entries = [e for e in self._venue.journal.since(since) if everything or e.is_order]
        return {"orders": [entry.as_json() for entry in entries]}

    async def fills(self, request: Request) -> object:
        fields = Fields(request.query_params)
        since = fields.integer("since", 0)
        fields.refuse_others()
        fills = []
        for item in self._venue.exchange.engine.trades:
            if item.trade_id > since:
                row = shapes.trade(item, self._venue.form(item.symbol))
                fills.append(
                    {**row, "clientOrderId": item.client_order_id, "actor": item.actor.value}
                )
        return {"fills": fills}

    async def state(self, _: Request) -> object:
        exchange = self._venue.exchange
        account = exchange.books.account
        form = self._venue.form
        return {
            "now_ms": self._venue.clock.now_ms(),
            "offset_ms": self._venue.clock.offset_ms,
            "hedge_mode": account.hedge_mode,
            "wallets": {asset: str(amount) for asset, amount in account.wallets.items()},
            "positions": {
                symbol: {
                    "amount": str(position.amount),
                    "entry_price": str(position.entry_price),
                    "mark_price": str(exchange.books.marks[symbol]),
                }
                for symbol, position in account.positions.items()
            },
            "open_orders": [
                shapes.order_query(o, form(o.symbol)) for o in exchange.books.orders.open_orders()
            ],
            "open_algos": [
                shapes.algo_query(a, form(a.symbol)) for a in exchange.algos.open_algos()
            ],
        }

    async def set_position(self, request: Request) -> object:
        """Another actor trades the position to the signed target `amount`, behind our back."""
        fields = await read_fields(request)
        symbol = fields.text("symbol")
        amount = fields.decimal("amount")
        actor = fields.choice("actor", Actor, Actor.HAND)
        fields.refuse_others()
        rules = self._venue.exchange.books.rules_of(symbol)
        if amount % rules.lot.step:
            raise BadControl(f"amount {amount} is no multiple of the step {rules.lot.step}")
        delta = amount - self._venue.exchange.books.account.position(symbol).amount
        order = self._trade(symbol, delta, actor) if delta else None
        self._venue.save()
        form = self._venue.form(symbol)
        return {
            "symbol": symbol,
            "amount": str(self._venue.exchange.books.account.position(symbol).amount),
            "order": shapes.order_query(order, form) if order else None,
        }

    def _trade(self, symbol: str, delta: Decimal, actor: Actor) -> Order:
        side = Side.BUY if delta > 0 else Side.SELL
        now_ms = self._venue.clock.now_ms()
        return self._venue.exchange.trade_behind_our_back(symbol, side, abs(delta), actor, now_ms)

    async def deposit(self, request: Request) -> object:
        fields = await read_fields(request)
        asset = fields.text("asset", "USDT")
        amount = fields.decimal("amount")
        fields.refuse_others()
        balance = self._venue.exchange.deposit(asset, amount, self._venue.clock.now_ms())
        self._venue.save()
        return {"asset": asset, "balance": str(balance)}

    async def clock(self, _: Request) -> object:
        clock = self._venue.clock
        return {"now_ms": clock.now_ms(), "offset_ms": clock.offset_ms}

    async def set_clock(self, request: Request) -> object:
        fields = await read_fields(request)
        offset_ms = fields.integer("offset_ms")
        fields.refuse_others()
        self._venue.clock.offset_ms = offset_ms
        return await self.clock(request)

    async def set_hedge_mode(self, request: Request) -> object:
        """Without the checks of the real endpoint."""
        fields = await read_fields(request)
        hedge = fields.flag("dualSidePosition", default=True)
        fields.refuse_others()
        self._venue.exchange.books.account.hedge_mode = hedge
        self._venue.save()
        return {"dualSidePosition": hedge}

    async def set_liquidity(self, request: Request) -> object:
        """What market orders of ours find in a symbol from now on; null is unlimited."""
        fields = await read_fields(request)
        symbol = fields.text("symbol")
        unlimited = fields.raw("qty") is None
        quantity = None if unlimited else fields.decimal("qty")
        fields.refuse_others()
        self._venue.exchange.books.rules_of(symbol)
        liquidity = self._venue.exchange.engine.liquidity
        if quantity is None:
            liquidity.pop(symbol, None)
        else:
            liquidity[symbol] = quantity
        return {"symbol": symbol, "qty": None if quantity is None else str(quantity)}

    async def settings(self, _: Request) -> object:
        return {"latency_ms": self._venue.latency_ms, "post_averages": self._venue.post_averages}

    async def set_settings(self, request: Request) -> object:
        fields = await read_fields(request)
        latency_ms = fields.integer("latency_ms", self._venue.latency_ms)
        averages = fields.flag("post_averages", default=self._venue.post_averages)
        fields.refuse_others()
        self._venue.latency_ms, self._venue.post_averages = latency_ms, averages
        return await self.settings(request)

    async def limits(self, _: Request) -> object:
        return asdict(self._venue.limiter.settings)

    async def set_limits(self, request: Request) -> object:
        """Changes the given limits and forgets all counts and bans."""
        fields = await read_fields(request)
        old = self._venue.limiter.settings
        new = {name: fields.integer(name, value) for name, value in asdict(old).items()}
        fields.refuse_others()
        self._venue.limiter.settings = LimitSettings(**new)
        self._venue.limiter.forget()
        return await self.limits(request)

    async def ban(self, request: Request) -> object:
        fields = await read_fields(request)
        address = fields.text("address", "127.0.0.1")
        until_ms = self._venue.clock.now_ms() + fields.integer("for_ms", 60_000)
        fields.refuse_others()
        self._venue.limiter.ban(address, until_ms)
        return {"address": address, "until_ms": until_ms}

    async def keys(self, _: Request) -> object:
        return {"keys": self._venue.keyring.names()}

    async def add_key(self, request: Request) -> object:
        fields = await read_fields(request)
        credential = Credential(
            name=fields.text("name", "added"),
            api_key=fields.text("api_key"),
            secret=fields.text("secret_key"),
            may_trade=fields.flag("may_trade", default=True),
        )
        fields.refuse_others()
        self._venue.keyring.add(credential)
        self._venue.save()
        return await self.keys(request)

    async def revoke_key(self, request: Request) -> object:
        api_key = Fields(request.query_params).text("api_key")
        if not self._venue.keyring.revoke(api_key):
            raise BadControl("no such key")
        self._venue.save()
        return await self.keys(request)

    async def reset(self, _: Request) -> object:
        """As freshly started; the numbers of journal, orders and trades go on."""
        venue = self._venue
        self._replays.forget()
        venue.clock.offset_ms = self._first_offset_ms
        venue.exchange.reset(venue.clock.now_ms())
        venue.faults.clear()
        venue.journal.clear()
        venue.listen_keys.clear()
        venue.limiter.settings = self._first_limits
        venue.limiter.forget()
        venue.latency_ms = self._first_latency_ms
        venue.post_averages = self._first_averages
        venue.keyring.reset()
        venue.save()
        return {"status": "ok"}
