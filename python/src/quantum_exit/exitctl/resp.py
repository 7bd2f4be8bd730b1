"""A Redis connection of a few lines, for the commands that must start fast.

Importing a full client takes longer than engaging the kill switch may. Only what that
needs is here: one pipeline of commands, one list of answers, one timeout for all of it.
"""

from __future__ import annotations

import socket
import time
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

Reply: TypeAlias = "bytes | int | list[Reply] | RespError | None"
Command = tuple[str | bytes, ...]


class RespError(Exception):
    """Redis answered this command with an error."""


class Resp:
    """One connection. Every method raises OSError when Redis is gone or too slow."""

    def __init__(self, url: str, timeout_s: float) -> None:
        """`url`: redis://, rediss:// or unix://. Raises ValueError for anything else."""
        parts = urlsplit(url)
        if parts.scheme not in {"redis", "rediss", "unix"}:
            raise ValueError("REDIS_URL must begin with redis://, rediss:// or unix://")
        self._deadline = time.monotonic() + timeout_s
        self._socket = _open(parts.scheme, parts.hostname or "", parts.port, parts.path, timeout_s)
        self._file = self._socket.makefile("rb")
        self._login: list[Command] = []
        if parts.password is not None:
            user = (unquote(parts.username),) if parts.username else ()
            self._login.append(("AUTH", *user, unquote(parts.password)))
        database = parts.path.strip("/") if parts.scheme != "unix" else ""
        if database not in {"", "0"}:
            self._login.append(("SELECT", database))

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def run(self, commands: list[Command], timeout_s: float) -> list[Reply]:
        """Send all commands at once; the answer to each, in order.

        A command that Redis refused gives a RespError in its place; a refused login raises it.
        """
        self._deadline = time.monotonic() + timeout_s
        login, self._login = self._login, []
        self._socket.settimeout(timeout_s)
        self._socket.sendall(b"".join(_encode(command) for command in (*login, *commands)))
        for _ in login:
            answer = self._read()
            if isinstance(answer, RespError):
                raise answer
        return [self._read() for _ in commands]

    def _line(self) -> bytes:
        remaining_s = self._deadline - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError("Redis did not answer in time")
        self._socket.settimeout(remaining_s)
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("Redis closed the connection")
        return line[:-2]

    def _read(self) -> Reply:
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b"-":
            return RespError(rest.decode(errors="replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return self._bulk(int(rest))
        if kind == b"*":
            return [self._read() for _ in range(int(rest))] if rest != b"-1" else None
        raise ConnectionError("what answered is not Redis")

    def _bulk(self, length: int) -> bytes | None:
        if length < 0:
            return None
        data = self._file.read(length + 2)
        if len(data) != length + 2:
            raise ConnectionError("Redis closed the connection")
        return data[:-2]


def _open(scheme: str, host: str, port: int | None, path: str, timeout_s: float) -> socket.socket:
    if scheme == "unix":
        unix = socket.socket(socket.AF_UNIX)
        unix.settimeout(timeout_s)
        unix.connect(path)
        return unix
    plain = socket.create_connection((host, port or 6379), timeout=timeout_s)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if scheme == "redis":
        return plain
    import ssl

    return ssl.create_default_context().wrap_socket(plain, server_hostname=host)


def _encode(command: Command) -> bytes:
    parts = [part.encode() if isinstance(part, str) else part for part in command]
    head = b"*%d\r\n" % len(parts)
    return head + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


def pairs(reply: Reply) -> dict[bytes, bytes]:
    """The answer to HGETALL as a map; raises ValueError for any other answer."""
    if not isinstance(reply, list) or not all(isinstance(part, bytes) for part in reply):
        raise ValueError("not the answer to HGETALL")
    flat = [part for part in reply if isinstance(part, bytes)]
    return dict(zip(flat[::2], flat[1::2], strict=True))
