"""One HTTP request with the standard library alone."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Answer:
    """`headers` by lower-case name; `body` is parsed JSON, or the text where it is none."""

    status: int
    headers: Mapping[str, str]
    body: object


def request(
    base_url: str,
    method: str,
    target: str,
    *,
    content: bytes = b"",
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 30,
) -> Answer:
    """Raises OSError or http.client.HTTPException when the connection is refused or lost."""
    address = urlsplit(base_url).netloc
    connection = http.client.HTTPConnection(address, timeout=timeout_s)
    try:
        connection.request(method, target, body=content or None, headers=dict(headers or {}))
        response = connection.getresponse()
        raw = response.read()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, _parse(raw))
    finally:
        connection.close()


def _parse(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode("utf-8", errors="replace")
