"""The open connections, so that a fault can cut one without an answer."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Address
from uvicorn.protocols.http.h11_impl import H11Protocol


class Connections:
    def __init__(self) -> None:
        self._transports: dict[tuple[str, int], asyncio.Transport] = {}
        self.closing = asyncio.Event()
        """Set when the exchange shuts down: nothing waits any longer."""

    def cut(self, client: Address | None) -> None:
        """Closes the client's connection at once; what is unsent is lost."""
        transport = self._transports.get((client.host, client.port)) if client else None
        if transport:
            transport.abort()

    def protocol(self) -> type[H11Protocol]:
        """uvicorn's own protocol, with its transports noted here."""
        transports = self._transports

        class NotedProtocol(H11Protocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
                super().connection_made(transport)
                if self.client:
                    transports[self.client] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                if self.client:
                    transports.pop(self.client, None)

        return NotedProtocol
