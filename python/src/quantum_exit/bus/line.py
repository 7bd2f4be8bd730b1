"""One connection of one thread, for what runs for every plan.

Commands go out together in one write and their answers come back as they are: no pool, no
callbacks, no retries. A command costs a tenth of what it costs through a redis-py pipeline.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final

import hiredis
from redis.exceptions import ResponseError

from quantum_exit.bus.connection import RedisClient
from quantum_exit.sockets import bound_by_kernel

Argument = str | bytes | int
_pack: Final[Any] = hiredis.pack_command


class Line:
    """Belongs to one thread. Connects when it is first used, and lives as long as `client`,
    which must not decode responses.

    Every method raises redis.RedisError when the connection fails: what was sent may have
    been done or not.
    """

    def __init__(self, client: RedisClient) -> None:
        self._client = client

    @cached_property
    def _connection(self) -> Any:
        connection: Any = self._client.connection_pool.get_connection()
        bound_by_kernel(connection._sock)  # there is no public way to it
        return connection

    def ask(self, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
        """An answer for each command, in one round trip. One that Redis refuses is answered
        with its ResponseError, and the others are not touched by it."""
        connection = self._connection
        connection.send_packed_command([b"".join([_pack(command) for command in commands])])
        return [self._answer() for _ in commands]

    def call(self, *command: Argument) -> Any:
        """The answer of one command. Raises ResponseError when Redis refuses it."""
        connection = self._connection
        connection.send_packed_command([_pack(command)])
        return connection.read_response()

    def _answer(self) -> Any:
        try:
            return self._connection.read_response()
        except ResponseError as error:
            return error


def as_map(answer: Any) -> dict[Any, Any]:
    """Names and values, which Redis answers in turn where it does not know maps (RESP2). Empty
    for what is neither."""
    if isinstance(answer, dict):
        return answer
    if not isinstance(answer, list):
        return {}
    return dict(zip(answer[0::2], answer[1::2], strict=True))
