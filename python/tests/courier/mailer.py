"""A mailer on loopback that speaks as much SMTP as it takes to get a message."""

from __future__ import annotations

import socketserver
import threading
from email import message_from_bytes
from email.message import Message
from email.policy import default


class Mailer:
    """`reply`: what it answers when it is given the recipient."""

    def __init__(self, reply: str = "250 fine") -> None:
        self.got: list[Message] = []
        self.reply = reply
        mailer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self._say("220 here")
                while line := self.rfile.readline():
                    word = line[:4].upper()
                    if word == b"RCPT":
                        self._say(mailer.reply)
                    elif word == b"DATA":
                        self._say("354 go on")
                        self._take()
                        self._say("250 taken")
                    else:
                        self._say("221 bye" if word == b"QUIT" else "250 fine")

            def _say(self, text: str) -> None:
                self.wfile.write(f"{text}\r\n".encode())

            def _take(self) -> None:
                lines = list(iter(self.rfile.readline, b".\r\n"))
                mailer.got.append(message_from_bytes(b"".join(lines), policy=default))

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
