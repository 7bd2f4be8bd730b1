"""Durations as people type them."""

from __future__ import annotations

import pytest

from quantum_exit.exitctl.ttl import parse_ttl


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("1h", 3600), ("24h", 86_400), (" 5M ", 300)]
)
def test_what_is_meant(text: str, seconds: int) -> None:
    assert parse_ttl(text) == seconds


@pytest.mark.parametrize("text", ["", "15", "m", "-5m", "1.5h", "15 m", "25h", "0s", "1d", "٣m"])
def test_what_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"15m|range"):
        parse_ttl(text)
