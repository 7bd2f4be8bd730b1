"""Nothing secret leaves in a message, a log line or an error. Pure.

What is known to be secret (the URLs and tokens of this process) is found wherever it stands;
what only looks like one (keys of the exchange, signatures, `password=...`) is masked too. A
mask too many costs a reader a hash; one too few costs an account.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

MASK: Final = "***"
_SHORTEST: Final = 8
"""A shorter piece of a URL is a word such as `webhooks`, not a token."""
_LONG: Final = re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9]{64,}(?![A-Za-z0-9])")
_USERINFO: Final = re.compile(r"(?<=://)[^/\s@]+@")
_NAMED: Final = re.compile(
    r"(?i)((?:api[_-]?key|secret|passw(?:or)?d|token|signature|authorization|sig|signing[_-]?key)"
    r"[a-z_-]*[\"']?\s*[=:]\s*[\"']?)([^\s\"'&,;}]+)"
)
_HOOKS: Final = re.compile(
    r"(https://(?:[\w.-]*discord(?:app)?\.com/api/webhooks|hooks\.slack\.com|api\.telegram\.org))"
    r"/[^\s\"']+"
)


class Mask:
    """`secrets`: values, whole URLs among them; their path segments and queries count too."""

    def __init__(self, secrets: Iterable[str]) -> None:
        words = {word for secret in secrets for word in _pieces(secret)}
        ordered = sorted(words, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def text(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(MASK, text)
        text = _HOOKS.sub(rf"\1/{MASK}", text)
        text = _USERINFO.sub(f"{MASK}@", text)
        text = _NAMED.sub(rf"\1{MASK}", text)
        return _LONG.sub(MASK, text)

    def value(self, value: Any) -> Any:
        """The same for all texts within a JSON value, names of fields included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(name)): self._named(str(name), v) for name, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(item) for item in value]
        return value

    def _named(self, name: str, value: Any) -> Any:
        if isinstance(value, str) and _NAMED.match(f"{name}={value}"):
            return MASK if value else value
        return self.value(value)


def _pieces(secret: str) -> Iterable[str]:
    """The secret itself and, of a URL, what of it is no common word."""
    if not secret:
        return
    if "://" not in secret:
        if len(secret) >= _SHORTEST:
            yield secret
        return
    yield secret
    parts = urlsplit(secret)
    pieces = [*re.split(r"[/:]", parts.path), *re.split(r"[=&]", parts.query)]
    pieces.append(parts.password or "")
    for piece in pieces:
        for word in {piece, unquote(piece)}:
            if len(word) > _SHORTEST:
                yield word
