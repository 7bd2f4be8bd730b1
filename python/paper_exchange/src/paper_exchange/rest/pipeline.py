"""The way of one request: arrival, door, delay, engine, answer.

1. Faults are chosen; a cut line or another answer "before" ends the request here.
2. Door: request weight, key, timestamp window, signature, order count.
3. The configured latency and the fault's delay pass.
4. Engine: an order's window is checked again, by the clock as it is now; then it is executed,
   in one step that nothing interrupts.
5. The fault's second delay passes; the answer is sent, replaced, or the line is cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ..connections import Connections
from ..domain.refusals import Refused
from ..faults import NO_FAULT, Plan
from ..journal import Entry, Outcome, Reply
from ..venue import Venue
from . import auth
from .answers import Canned
from .auth import Right
from .endpoints import Call, Endpoint
from .params import Params


class _CutLine(Exception):
    """The connection is to be cut without an answer."""


@dataclass(frozen=True, slots=True)
class _Arrival:
    endpoint: Endpoint
    params: Params
    query: str
    body: str
    api_key: str | None
    address: str
    plan: Plan
    entry: Entry | None


class Pipeline:
    def __init__(
        self, venue: Venue, endpoints: Iterable[Endpoint], connections: Connections
    ) -> None:
        self._venue = venue
        self._endpoints = {(e.method, e.path): e for e in endpoints}
        self._connections = connections

    async def serve(self, request: Request) -> Response:
        """The one Starlette endpoint behind every path of the protocol."""
        try:
            return await self._answer(request)
        except ClientDisconnect:  # it left before its request was complete
            return Response()
        except _CutLine:
            self._connections.cut(request.client)
            await asyncio.sleep(0)  # lets the server notice, so that it writes nothing
            return Response()

    async def _answer(self, request: Request) -> Response:
        method, path = request.method, request.url.path
        endpoint = self._endpoints.get((method, path))
        address = request.client.host if request.client else "unknown"
        if endpoint is None:
            refusal = Refused(-5000, f"Path {path}, Method {method} is invalid", 404)
            return self._respond(address, refusal.status, refusal.body())
        arrival = await self._receive(request, endpoint, address)
        status, body, ordered = await self._execute(arrival)
        return await self._reply(arrival, status, body, ordered=ordered)

    async def _receive(self, request: Request, endpoint: Endpoint, address: str) -> _Arrival:
        query = request.scope["query_string"].decode("latin-1")
        body = (await request.body()).decode("utf-8", errors="replace")
        params = Params(query, body)
        api_key = request.headers.get("X-MBX-APIKEY")
        entry = None
        if endpoint.right is Right.TRADE:
            entry = self._venue.journal.open(
                endpoint.method,
                endpoint.path,
                params,
                api_key or "",
                is_order=endpoint.is_order,
                now_ms=self._venue.clock.now_ms(),
            )
        plan = self._venue.faults.plan(endpoint.method, endpoint.path, params)
        return _Arrival(endpoint, params, query, body, api_key, address, plan, entry)

    async def _execute(self, arrival: _Arrival) -> tuple[int, object, bool]:
        """Status, body, and whether the order was counted. Raises _CutLine."""
        plan, entry = arrival.plan, arrival.entry
        ordered = False
        try:
            if plan.drop_before or plan.answer_before:
                return await self._stop_before(arrival)
            window = self._pass_door(arrival)
            ordered = arrival.endpoint.is_order
            await self._wait(self._venue.latency_ms + plan.delay_before_ms)
            now_ms = self._venue.clock.now_ms()
            if window and ordered:
                auth.check_engine_window(window, now_ms)
            self._venue.exchange.tick(now_ms)
            body = arrival.endpoint.handler(Call(self._venue, arrival.params, now_ms))
        except Refused as refusal:
            if entry:
                entry.refuse(refusal.code, refusal.msg, self._venue.clock.now_ms())
            return refusal.status, refusal.body(), ordered
        if entry:
            entry.accept(body, now_ms)
        if arrival.endpoint.changes:
            self._venue.save()
        return 200, body, ordered

    async def _stop_before(self, arrival: _Arrival) -> tuple[int, object, bool]:
        await self._wait(arrival.plan.delay_before_ms)
        if arrival.entry:
            arrival.entry.decide(Outcome.DROPPED, self._venue.clock.now_ms())
        if arrival.plan.drop_before:
            if arrival.entry:
                arrival.entry.reply = Reply.DROPPED
            raise _CutLine
        return 0, arrival.plan.answer_before, False

    def _pass_door(self, arrival: _Arrival) -> auth.Window | None:
        """The signed window, for signed endpoints. Raises Refused."""
        venue, endpoint = self._venue, arrival.endpoint
        now_ms = venue.clock.now_ms()
        venue.limiter.charge(arrival.address, endpoint.weight_of(arrival.params), now_ms)
        if endpoint.right is Right.NONE:
            return None
        credential = venue.keyring.identify(arrival.api_key, endpoint.right, arrival.address)
        if endpoint.right is Right.KEY:
            return None
        window = auth.read_window(arrival.params)
        auth.check_window(window, now_ms)
        auth.check_signature(credential, arrival.query, arrival.body)
        if endpoint.is_order:
            venue.limiter.count_order(now_ms)
        return window

    async def _reply(
        self, arrival: _Arrival, status: int, body: object, *, ordered: bool
    ) -> Response:
        plan, entry = arrival.plan, arrival.entry
        if plan is not NO_FAULT:
            await self._wait(plan.delay_after_ms)
            if plan.drop_after:
                if entry:
                    entry.reply = Reply.DROPPED
                raise _CutLine
        other = body if isinstance(body, Canned) else plan.answer_after
        if other:
            if entry:
                entry.reply = Reply.REPLACED
            return self._respond_canned(arrival, other)
        if entry:
            entry.reply = Reply.SENT
        return self._respond(
            arrival.address,
            status,
            body,
            ordered=ordered,
            weightless=arrival.endpoint.is_order and status != 401,
        )

    def _respond_canned(self, arrival: _Arrival, answer: Canned) -> Response:
        now_ms = self._venue.clock.now_ms()
        status, content, headers = answer.render(arrival.endpoint.path, now_ms)
        return Response(content, status, headers)

    def _respond(
        self,
        address: str,
        status: int,
        body: object,
        *,
        ordered: bool = False,
        weightless: bool = False,
    ) -> Response:
        now_ms = self._venue.clock.now_ms()
        used = self._venue.limiter.used_weight(address, now_ms)
        # Orders cost no weight, and the real exchange then writes -1 for what was used.
        headers = {"X-MBX-USED-WEIGHT-1M": "-1" if weightless else str(used)}
        if ordered:
            headers.update(self._venue.limiter.order_headers(now_ms))
        content = json.dumps(body, separators=(",", ":")).encode()
        return Response(content, status, headers, media_type="application/json")

    async def _wait(self, delay_ms: int) -> None:
        """Raises _CutLine when the exchange is shut down meanwhile."""
        if delay_ms:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._connections.closing.wait(), delay_ms / 1_000)
                raise _CutLine
