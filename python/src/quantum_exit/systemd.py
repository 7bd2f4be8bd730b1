"""The service manager's side: readiness, status and watchdog over NOTIFY_SOCKET.

By hand, without systemd, all of it does nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping


class Notifier:
    """Sends sd_notify(3) datagrams. Never raises: a deaf service manager stops no exit."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._status = ""

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.settimeout(1)
                sock.sendto(message.encode(), self._address)
        except OSError:
            return

    def ready(self) -> None:
        """The configuration is right and the loop runs. Whether we may trade is in `status`."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`; sent only when it changes."""
        line = text.replace("\n", " ")
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def watchdog(self) -> None:
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")
