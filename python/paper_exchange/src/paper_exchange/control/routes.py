"""The table of the control API."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..domain.refusals import Refused
from ..replay import Replays
from ..venue import Venue
from .fault_routes import FaultControl
from .price_routes import PriceControl
from .reading import BadControl
from .venue_routes import VenueControl

_Handler = Callable[[Request], Awaitable[object]]


def control_routes(venue: Venue, replays: Replays, token: str) -> list[Route]:
    """With a `token`, every request must carry it as X-Paper-Control."""
    prices = PriceControl(venue, replays)
    state = VenueControl(venue, replays)
    faults = FaultControl(venue.faults)
    table: list[tuple[str, str, _Handler]] = [
        ("GET", "/paper/health", state.health),
        ("GET", "/paper/orders", state.orders),
        ("GET", "/paper/fills", state.fills),
        ("GET", "/paper/state", state.state),
        ("GET", "/paper/prices", prices.prices),
        ("POST", "/paper/prices", prices.set_prices),
        ("GET", "/paper/replay", prices.replays),
        ("POST", "/paper/replay", prices.start_replay),
        ("POST", "/paper/replay/step", prices.step_replay),
        ("DELETE", "/paper/replay", prices.stop_replay),
        ("POST", "/paper/fall", prices.start_fall),
        ("POST", "/paper/position", state.set_position),
        ("POST", "/paper/deposit", state.deposit),
        ("GET", "/paper/clock", state.clock),
        ("POST", "/paper/clock", state.set_clock),
        ("POST", "/paper/hedge-mode", state.set_hedge_mode),
        ("POST", "/paper/liquidity", state.set_liquidity),
        ("GET", "/paper/faults", faults.faults),
        ("POST", "/paper/faults", faults.add),
        ("DELETE", "/paper/faults", faults.remove),
        ("GET", "/paper/answers", faults.answers),
        ("GET", "/paper/settings", state.settings),
        ("POST", "/paper/settings", state.set_settings),
        ("GET", "/paper/limits", state.limits),
        ("POST", "/paper/limits", state.set_limits),
        ("POST", "/paper/ban", state.ban),
        ("GET", "/paper/keys", state.keys),
        ("POST", "/paper/keys", state.add_key),
        ("DELETE", "/paper/keys", state.revoke_key),
        ("POST", "/paper/reset", state.reset),
    ]
    return [
        Route(path, _guarded(handler, token), methods=[method]) for method, path, handler in table
    ]


def _guarded(handler: _Handler, token: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        given = request.headers.get("X-Paper-Control", "")
        if token and not hmac.compare_digest(given.encode(), token.encode()):
            return JSONResponse({"error": "X-Paper-Control is missing or wrong"}, 403)
        try:
            return JSONResponse(await handler(request))
        except (BadControl, ValueError, ArithmeticError) as error:
            return JSONResponse({"error": str(error)}, 400)
        except Refused as refusal:
            return JSONResponse({"error": refusal.msg}, 400)

    return answer
