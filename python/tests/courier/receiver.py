"""Whoever gets the alerts: a real HTTP server on loopback, which a test can make fail."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    document: Any


@dataclass
class Receiver:
    """`answers`: statuses for the next requests, then 200 for all."""

    port: int = 0
    got: list[Request] = field(default_factory=list)
    """What was answered with 2xx, in order."""
    refused: list[Request] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    retry_after: str = ""
    refuse_if: str = ""
    """A text that this receiver never takes (400)."""
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def _take(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                document = json.loads(body) if body else None
                request = Request(self.command, self.path, dict(self.headers), document)
                status = receiver.answers.pop(0) if receiver.answers else 200
                if receiver.refuse_if and receiver.refuse_if in body.decode():
                    status = 400
                (receiver.got if status < 300 else receiver.refused).append(request)
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", f"{receiver.url}/elsewhere")
                if receiver.retry_after:
                    self.send_header("Retry-After", receiver.retry_after)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_GET = _take

            def log_message(self, *_: object) -> None:
                pass

        ThreadingHTTPServer.allow_reuse_address = True
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Nobody listens any more; the port stays the same for the next start."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def ids(self, path: str = "") -> list[str]:
        return [r.document["alert_id"] for r in self.got if r.path.startswith(path or "/hook")]
