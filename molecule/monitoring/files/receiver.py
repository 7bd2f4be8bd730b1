#!/usr/bin/python3
"""Writes each request down, one JSON object a line, before it says yes."""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

GOT = "/var/tmp/receiver.jsonl"  # noqa: S108 - a sandbox host has no other users


class Handler(BaseHTTPRequestHandler):
    def take(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        document = json.loads(body) if body else None
        request = {"path": self.path, "at": time.time(), "document": document}
        with open(GOT, "a", encoding="utf-8") as file:
            file.write(json.dumps(request) + "\n")
        self.send_response(204)
        self.end_headers()

    do_GET = do_POST = take

    def log_message(self, *_: object) -> None:
        pass


HTTPServer(("127.0.0.1", 9911), Handler).serve_forever()
