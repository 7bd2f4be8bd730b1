"""uvicorn, set up for this exchange: its socket, its signals, how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping

import uvicorn
from starlette.applications import Starlette

from .connections import Connections
from .notify import notify, watchdog_interval_s

_log = logging.getLogger(__name__)
_KEEP_ALIVE_S = 60
_GRACE_S = 1
_BACKLOG = 2_048


class Server(uvicorn.Server):
    """Ends in order on SIGTERM and SIGINT; uvicorn's own would raise the signal once more."""

    def __init__(self, app: Starlette, connections: Connections) -> None:
        self._connections = connections
        config = uvicorn.Config(
            app,
            http=connections.protocol(),
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_GRACE_S,
        )
        super().__init__(config)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Requests that a fault delays are cut off first, so that nobody waits for them."""
        self._connections.closing.set()
        await super().shutdown(sockets)

    def end_with(self, task: asyncio.Task[None]) -> None:
        """An exchange whose timers stand still must not look alive."""

        def look(done: asyncio.Task[None]) -> None:
            if not done.cancelled() and done.exception():
                _log.error("a background task failed", exc_info=done.exception())
                self.should_exit = True

        task.add_done_callback(look)

    def end_with_input(self) -> None:
        """When the standard input closes: a test that dies leaves no exchange behind."""
        loop = asyncio.get_running_loop()

        def read() -> None:
            if not os.read(sys.stdin.fileno(), 1):
                loop.remove_reader(sys.stdin.fileno())
                self.should_exit = True

        loop.add_reader(sys.stdin.fileno(), read)


def listen(host: str, port: int) -> socket.socket:
    """Raises OSError."""
    listener = socket.create_server((host, port), backlog=_BACKLOG)
    # asyncio leaves this to us for a socket made by hand; without it every answer waits 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


async def announce(server: Server, listener: socket.socket, environ: Mapping[str, str]) -> None:
    """READY once the port is served, then the watchdog's beat."""
    while not server.started:
        await asyncio.sleep(0.005)
    host, port = listener.getsockname()[:2]
    url = f"http://{host}:{port}"
    print(f"paper exchange listening on {url}", flush=True)
    notify(environ, f"READY=1\nSTATUS=listening on {url}")
    interval_s = watchdog_interval_s(environ)
    while interval_s:
        await asyncio.sleep(interval_s)
        notify(environ, "WATCHDOG=1")
