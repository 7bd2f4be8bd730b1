"""Where the exchange is, and which addresses may be spoken to without TLS."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

MAINNET_URL = "https://fapi.binance.com"
TESTNET_URL = "https://demo-fapi.binance.com"


def default_base_url(*, testnet: bool) -> str:
    return TESTNET_URL if testnet else MAINNET_URL


def check_base_url(url: str, *, allow_http_hosts: Collection[str] = ()) -> str:
    """The URL without a trailing slash; `ValueError` saying what is wrong with it.

    Plain http is for loopback and the hosts named in `allow_http_hosts`: keys and orders
    must not cross a network in the clear.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("the base URL cannot be parsed") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("the base URL must be http(s)://host[:port]")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the base URL must not carry credentials")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("the base URL must have no path, query or fragment")
    if parts.scheme == "http" and not is_loopback(host) and host not in allow_http_hosts:
        raise ValueError(
            f"plain http to {host}: only loopback and sandbox hosts may do without TLS"
        )
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port is not None else "")


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
