"""One request to a receiver, bounded as a whole, and what its status means."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from quantum_exit.binance.transport import AnswerLost, NeverSent, Wire

CONNECT_S: Final = 3.0
ANSWER_S: Final = 6.0
_ABOUT_THE_MESSAGE: Final = frozenset({400, 413, 422})
_LONGEST_WAIT_S: Final = 600.0
_SENT_AS_IT_IS: Final = "!#$%&'()*+,/:;=?@[]~"


class NotDelivered(Exception):
    """`reason` carries no URL; `refused`: it may be this message, not the destination."""

    def __init__(self, reason: str, *, retry_after_s: float = 0.0, refused: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.refused = refused


class Http:
    """One connection to one URL, kept open. No redirect is followed: it would carry the token
    along. A receiver has connecting and answering time in all, however it deals it out."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        where = parts.netloc.rpartition("@")[2].encode("idna").decode()
        query = f"?{parts.query}" if parts.query else ""
        self._wire = Wire(f"{parts.scheme}://{where}", ANSWER_S, CONNECT_S, by_kernel=False)
        self._target = quote(f"{parts.path or '/'}{query}", safe=_SENT_AS_IT_IS)
        self._headers = {"User-Agent": "quantum-exit", "Accept": "*/*"}
        if parts.username is not None:
            userinfo = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(userinfo).decode()}"

    def post(self, document: Any, headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps(document, allow_nan=False).encode()
        self._ask("POST", {"Content-Type": "application/json", **(headers or {})}, body)

    def get(self) -> None:
        self._ask("GET", {}, None)

    def _ask(self, method: str, headers: Mapping[str, str], body: bytes | None) -> None:
        headers = {**headers, **self._headers}
        try:
            answer = self._wire.exchange(method, self._target, headers, body, status_only=True)
        except (NeverSent, AnswerLost) as error:
            raise NotDelivered(str(error)) from None  # it names kinds of errors, never the URL
        if not 200 <= answer.status < 300:
            wait_s = _seconds(answer.headers.get("Retry-After", ""))
            refused = answer.status in _ABOUT_THE_MESSAGE
            raise NotDelivered(f"HTTP {answer.status}", retry_after_s=wait_s, refused=refused)


def _seconds(text: str) -> float:
    try:
        return min(max(float(text), 0.0), _LONGEST_WAIT_S)
    except ValueError:
        return 0.0
