"""Keys and orders cross a network only under TLS."""

from __future__ import annotations

import pytest

from quantum_exit.binance.urls import check_base_url, default_base_url


def test_defaults_by_environment() -> None:
    assert default_base_url(testnet=False) == "https://fapi.binance.com"
    assert default_base_url(testnet=True) == "https://demo-fapi.binance.com"


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://fapi.binance.com/", "https://fapi.binance.com"),
        (" https://fapi.binance.com ", "https://fapi.binance.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost:8080/", "http://localhost:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://paper.sandbox:8080", "http://paper.sandbox:8080"),
    ],
)
def test_accepted(url: str, clean: str) -> None:
    assert check_base_url(url, allow_http_hosts={"paper.sandbox"}) == clean


@pytest.mark.parametrize(
    "url",
    [
        "",
        "fapi.binance.com",
        "ftp://fapi.binance.com",
        "http://fapi.binance.com",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "http://user:pw@127.0.0.1",
        "https://user@fapi.binance.com",
        "https://fapi.binance.com/fapi",
        "https://fapi.binance.com?x=1",
        "https://fapi.binance.com:port",
        "http://[::1",
    ],
)
def test_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|plain http"):
        check_base_url(url, allow_http_hosts={"paper.sandbox"})
