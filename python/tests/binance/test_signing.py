"""The signature is over exactly the bytes that leave."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum_exit.binance.model import Credentials
from quantum_exit.binance.orders import check_client_id
from quantum_exit.binance.signing import encode, sign, signature

# The exchange's own published example.
SECRET = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
PAYLOAD = (
    "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC"
    "&recvWindow=5000&timestamp=1591702613943"
)
EXPECTED = "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"


def test_published_example() -> None:
    assert signature(SECRET, PAYLOAD) == EXPECTED


def test_request_of_the_published_example() -> None:
    params = dict(parse_qsl(PAYLOAD.partition("&recvWindow")[0]))
    request = sign(
        SECRET, "POST", "/fapi/v1/order", params, timestamp_ms=1591702613943, recv_window_ms=5000
    )
    assert request.body_or_query == f"{PAYLOAD}&signature={EXPECTED}"
    assert request.fence_ms == 1591702613943 + 5000
    assert request.symbol == "BTCUSDT"


@settings(deadline=None)  # a shared machine may be busy
@given(st.dictionaries(st.sampled_from(["a", "b", "symbol"]), st.text(max_size=20)))
def test_encoding_is_ascii_and_reversible(params: dict[str, str]) -> None:
    try:
        "".join(params.values()).encode()
    except UnicodeEncodeError:
        return  # lone surrogates are no text
    encoded = encode(params)
    assert encoded.isascii()
    assert dict(parse_qsl(encoded, keep_blank_values=True)) == params


@pytest.mark.parametrize("name", ["timestamp", "recvWindow", "signature"])
def test_reserved_parameters_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        sign("s", "POST", "/p", {name: "1"}, timestamp_ms=1, recv_window_ms=1000)


@pytest.mark.parametrize("window_ms", [0, -1, 60_000])
def test_windows_the_exchange_would_refuse(window_ms: int) -> None:
    with pytest.raises(ValueError, match="recvWindow"):
        sign("s", "POST", "/p", {}, timestamp_ms=1, recv_window_ms=window_ms)


def test_reprs_hide_what_is_secret() -> None:
    shown = repr(Credentials("the-key", "the-secret"))
    assert "the-key" not in shown
    assert "the-secret" not in shown
    request = sign("s", "POST", "/p", {"symbol": "X"}, timestamp_ms=1, recv_window_ms=1000)
    assert "signature" not in repr(request)


@pytest.mark.parametrize("key", ["", " canary", "canary\n", "canary\r\nX-Evil: 1", "canärý"])
def test_keys_that_cannot_stand_in_a_header(key: str) -> None:
    with pytest.raises(ValueError, match="API key") as caught:
        Credentials(key, "s")
    assert "can" not in str(caught.value).replace("can carry", "")


def test_a_secret_may_hold_any_character() -> None:
    Credentials("k", "a=b#c\"d'e$f%g h\\")


@pytest.mark.parametrize("client_id", ["", "x" * 37, "a b", "ä", "a\n", "a&b=c"])
def test_client_ids_the_exchange_would_refuse(client_id: str) -> None:
    with pytest.raises(ValueError, match="client order id"):
        check_client_id(client_id)


def test_client_ids_the_exchange_takes() -> None:
    check_client_id("x" * 36)
    check_client_id("A.z:0/9_-")
