"""Who is let in: keys, signatures, the window of time."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from paper_exchange.domain.refusals import Refused
from paper_exchange.rest.auth import Credential, check_signature
from paper_exchange.testing import Answer, PaperExchange, sign_query
from paper_exchange.testing.transport import request

SECRET = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
DOCUMENTED = (
    "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC"
    "&recvWindow=5000&timestamp=1591702613943"
)
DOCUMENTED_SIGNATURE = "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"
IN_QUERY = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC"
IN_BODY = "quantity=1&price=9000&recvWindow=5000&timestamp=1591702613943"
MIXED_SIGNATURE = "30baaf0fab549bbeda7f5ef201898b34122da25fd23c646cac2c529aebe670a4"
CREDENTIAL = Credential("doc", "key", SECRET, may_trade=True)


@pytest.mark.parametrize(
    ("query", "body"),
    [
        (f"{DOCUMENTED}&signature={DOCUMENTED_SIGNATURE}", ""),
        ("", f"{DOCUMENTED}&signature={DOCUMENTED_SIGNATURE}"),
        (f"{DOCUMENTED}&signature={DOCUMENTED_SIGNATURE.upper()}", ""),
        (IN_QUERY, f"{IN_BODY}&signature={MIXED_SIGNATURE}"),
    ],
)
def test_documented_signatures(query: str, body: str) -> None:
    check_signature(CREDENTIAL, query, body)


@pytest.mark.parametrize(
    ("query", "body", "code"),
    [
        (DOCUMENTED, "", -1102),
        (f"signature={DOCUMENTED_SIGNATURE}&{DOCUMENTED}", "", -1022),
        (f"{DOCUMENTED}&signature={DOCUMENTED_SIGNATURE[:-1]}0", "", -1022),
        (f"{IN_QUERY}&", f"{IN_BODY}&signature={MIXED_SIGNATURE}", -1022),
    ],
)
def test_signatures_that_are_not(query: str, body: str, code: int) -> None:
    with pytest.raises(Refused) as refusal:
        check_signature(CREDENTIAL, query, body)
    assert refusal.value.code == code


def read(exchange: PaperExchange, query: str, key: str | None) -> Answer:
    headers = {} if key is None else {"X-MBX-APIKEY": key}
    return request(exchange.base_url, "GET", f"/fapi/v3/balance?{query}", headers=headers)


def code_of(answer: Answer) -> tuple[int, object]:
    assert isinstance(answer.body, dict)
    return answer.status, answer.body.get("code")


def test_keys(exchange: PaperExchange) -> None:
    query = sign_query({"timestamp": exchange.now_ms()}, exchange.secret_key)
    assert code_of(read(exchange, query, None)) == (401, -2014)
    wrong = read(exchange, query, "x" * 64)
    assert code_of(wrong) == (401, -2015)
    assert "x-mbx-used-weight-1m" in wrong.headers
    assert "x-mbx-order-count-10s" not in wrong.headers
    assert read(exchange, query, exchange.api_key).status == 200


def test_the_wrong_secret(exchange: PaperExchange) -> None:
    query = sign_query({"timestamp": exchange.now_ms()}, "another secret")
    assert code_of(read(exchange, query, exchange.api_key)) == (400, -1022)


def test_the_reading_key_reads_and_does_not_trade(exchange: PaperExchange) -> None:
    assert exchange.signed("GET", "/fapi/v3/balance", read_only=True).status == 200
    order = {"symbol": "AVAXUSDT", "side": "BUY", "type": "MARKET", "quantity": "5"}
    refused = exchange.signed("POST", "/fapi/v1/order", read_only=True, **order)
    assert code_of(refused) == (401, -2015)
    for method, path in (
        ("POST", "/fapi/v1/leverage"),
        ("DELETE", "/fapi/v1/allOpenOrders"),
        ("POST", "/fapi/v1/algoOrder"),
        ("POST", "/fapi/v1/positionSide/dual"),
    ):
        assert exchange.signed(method, path, read_only=True, symbol="AVAXUSDT").status == 401
    assert exchange.position("AVAXUSDT") == 0


def test_missing_and_malformed_parameters(exchange: PaperExchange) -> None:
    key = exchange.api_key
    assert code_of(read(exchange, sign_query({}, exchange.secret_key), key)) == (400, -1102)
    assert code_of(read(exchange, f"timestamp={exchange.now_ms()}", key)) == (400, -1102)
    soon = sign_query({"timestamp": "soon"}, exchange.secret_key)
    assert code_of(read(exchange, soon, key)) == (400, -1100)


@pytest.mark.parametrize(
    ("age_ms", "window_ms", "refusal"),
    [
        (0, None, None),
        (2_500, None, None),
        (5_100, None, "Timestamp for this request is outside of the recvWindow."),
        (100, 1_000, None),
        (1_100, 1_000, "Timestamp for this request is outside of the recvWindow."),
        (-900, None, None),
        (-6_000, None, "Timestamp for this request was 1000ms ahead of the server's time."),
        (0, 60_000, "recvWindow must be less than 60000"),
    ],
)
def test_the_window_of_time(
    exchange: PaperExchange, age_ms: int, window_ms: int | None, refusal: str | None
) -> None:
    more = {} if window_ms is None else {"recvWindow": window_ms}
    answer = exchange.signed(
        "GET", "/fapi/v3/balance", timestamp=exchange.now_ms() - age_ms, **more
    )
    if refusal is None:
        assert answer.status == 200
    else:
        assert isinstance(answer.body, dict)
        assert (answer.status, answer.body["msg"]) == (400, refusal)


def test_the_exchanges_clock_can_be_turned(exchange: PaperExchange) -> None:
    before = exchange.now_ms()
    exchange.set_clock_offset(-3_600_000)
    assert -3_601_000 < exchange.now_ms() - before < -3_590_000
    assert code_of(exchange.signed("GET", "/fapi/v3/balance", timestamp=before)) == (400, -1021)
    assert exchange.signed("GET", "/fapi/v3/balance").status == 200


def test_query_and_body_together(exchange: PaperExchange) -> None:
    """The query wins over the body, and both are signed without anything between them."""
    query = "symbol=AVAXUSDT&side=BUY&type=MARKET&quantity=5"
    body = f"quantity=7&timestamp={exchange.now_ms()}"
    signature = hmac.new(
        exchange.secret_key.encode(), (query + body).encode(), hashlib.sha256
    ).hexdigest()
    answer = request(
        exchange.base_url,
        "POST",
        f"/fapi/v1/order?{query}",
        content=f"{body}&signature={signature}".encode(),
        headers={"X-MBX-APIKEY": exchange.api_key},
    )
    assert answer.status == 200
    assert exchange.position("AVAXUSDT") == 5


def test_keys_may_be_revoked_and_added(exchange: PaperExchange) -> None:
    exchange.add_key("new-key", "new-secret")
    exchange.revoke_key(exchange.api_key)
    old = sign_query({"timestamp": exchange.now_ms()}, exchange.secret_key)
    new = sign_query({"timestamp": exchange.now_ms()}, "new-secret")
    assert code_of(read(exchange, old, exchange.api_key)) == (401, -2015)
    assert read(exchange, new, "new-key").status == 200
