"""Signing a request the way a client does."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import urlencode


def sign_query(params: Mapping[str, object], secret: str) -> str:
    """The query or form body of `params`, with its signature as the last parameter."""
    query = urlencode({name: str(value) for name, value in params.items()})
    signature = hmac.new(secret.encode(), query.encode(), hashlib.sha256).hexdigest()
    return f"{query}&signature={signature}" if query else f"signature={signature}"
