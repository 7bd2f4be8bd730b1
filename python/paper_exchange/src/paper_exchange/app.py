"""The ASGI application: the protocol under /fapi, the control API under /paper."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from .connections import Connections
from .control.routes import control_routes
from .replay import Replays
from .rest import account_routes, algo_routes, market_routes, order_routes, position_routes
from .rest.pipeline import Pipeline
from .venue import Venue

ENDPOINTS = (
    *order_routes.ENDPOINTS,
    *market_routes.ENDPOINTS,
    *position_routes.ENDPOINTS,
    *account_routes.ENDPOINTS,
    *algo_routes.ENDPOINTS,
)
_METHODS = ["GET", "POST", "PUT", "DELETE"]


def make_app(
    venue: Venue,
    replays: Replays,
    connections: Connections,
    control_token: str,
) -> Starlette:
    pipeline = Pipeline(venue, ENDPOINTS, connections)
    routes = [
        Route("/fapi/{rest:path}", pipeline.serve, methods=_METHODS),
        *control_routes(venue, replays, control_token),
        Route("/{rest:path}", _elsewhere, methods=_METHODS),
    ]
    return Starlette(routes=routes)


async def _elsewhere(request: Request) -> JSONResponse:
    """Spot, wallet and other paths of the real host: not served here."""
    return JSONResponse({"code": -5000, "msg": f"Path {request.url.path} is invalid"}, 404)
