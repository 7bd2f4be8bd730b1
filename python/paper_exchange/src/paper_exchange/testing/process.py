"""Starting and stopping a paper exchange as a process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from .control import ControlClient
from .signed import sign_query
from .transport import Answer, request

API_KEY = "paper-trading-key-" + "t" * 46
SECRET_KEY = "paper-trading-secret-" + "s" * 43
READ_API_KEY = "paper-reading-key-" + "r" * 46
READ_SECRET_KEY = "paper-reading-secret-" + "q" * 43
_START_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 10.0


class PaperExchange(ControlClient):
    """A context manager; `options` are those of the command line, in snake case.

    Limits are off unless asked for, so that a quick test is not answered 429. The child ends
    when this process does. `pid` may be sent signals: SIGSTOP, SIGCONT, SIGKILL.
    """

    def __init__(self, **options: object) -> None:
        super().__init__(base_url="", token=str(options.get("control_token", "")))
        self.api_key = API_KEY
        self.secret_key = SECRET_KEY
        self.read_api_key = READ_API_KEY
        self.read_secret_key = READ_SECRET_KEY
        limits = {"weight_limit": 0, "order_limit_10s": 0, "order_limit_1m": 0}
        self._options: dict[str, object] = {"port": 0, **limits, **options}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the exchange is not running")
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Returns once it listens. Started again after `stop` or `kill`, it takes the same port."""
        if self._process is not None:
            raise RuntimeError("the exchange is running already")
        with tempfile.TemporaryDirectory(prefix="paper-exchange-") as directory:
            address = str(Path(directory, "notify"))
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
                ready.bind(address)
                ready.settimeout(0.2)
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "paper_exchange", "--stop-with-parent", "true"],
                    env=self._environment(address),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                )
                try:
                    self.base_url = self._wait_until_ready(self._process, ready)
                except BaseException:
                    self.kill()
                    raise
        self._options["port"] = int(self.base_url.rpartition(":")[2])

    def _environment(self, notify_socket: str) -> dict[str, str]:
        chosen: Mapping[str, object] = {
            "api_key": self.api_key,
            "secret_key": self.secret_key,
            "read_api_key": self.read_api_key,
            "read_secret_key": self.read_secret_key,
            **self._options,
        }
        ours = {f"PAPER_EXCHANGE_{name.upper()}": _text(value) for name, value in chosen.items()}
        others = {k: v for k, v in os.environ.items() if not k.startswith("PAPER_EXCHANGE_")}
        others.pop("WATCHDOG_USEC", None)
        return {**others, **ours, "NOTIFY_SOCKET": notify_socket}

    @staticmethod
    def _wait_until_ready(process: subprocess.Popen[bytes], ready: socket.socket) -> str:
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline_s:
            try:
                message = ready.recv(4_096).decode()
            except TimeoutError:
                if process.poll() is not None:
                    raise RuntimeError(
                        f"the paper exchange ended with {process.returncode} instead of starting"
                    ) from None
                continue
            if "READY=1" in message:
                return message.rpartition("listening on ")[2].strip()
        raise RuntimeError(f"the paper exchange was not ready within {_START_TIMEOUT_S} s")

    def stop(self) -> None:
        """Ends it in order; its state file, if any, is written."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)  # a stopped one would not hear the other
            process.send_signal(how)
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin:
            process.stdin.close()

    def signed(
        self, method: str, path: str, *, read_only: bool = False, **params: object
    ) -> Answer:
        """One signed request as a client would send it: GET in the query, others in the body.

        `timestamp` is the exchange's own time unless given.
        """
        key, secret = self.api_key, self.secret_key
        if read_only:
            key, secret = self.read_api_key, self.read_secret_key
        params.setdefault("timestamp", self.now_ms())
        signed = sign_query(params, secret)
        headers = {"X-MBX-APIKEY": key, "Content-Type": "application/x-www-form-urlencoded"}
        if method == "GET":
            return request(self.base_url, method, f"{path}?{signed}", headers=headers)
        return request(self.base_url, method, path, content=signed.encode(), headers=headers)

    def public(self, path: str) -> Answer:
        return request(self.base_url, "GET", path)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
