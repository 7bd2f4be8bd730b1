"""What an answer to a write proves, and what it leaves open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum_exit.binance import parse
from quantum_exit.binance.errors import (
    Accepted,
    ExchangeError,
    ExchangeRateLimited,
    Outcome,
    RateLimited,
    Refused,
    Unknown,
    classify_write,
    read_failure,
    retry_after_s,
)
from quantum_exit.binance.model import OrderAck

from .peer import ORDER_ANSWER

NOW_MS = 1_700_000_012_345  # 32.345 s into a minute of the exchange


def classify(status: int, body: Any, headers: dict[str, str] | None = None) -> Outcome[OrderAck]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return classify_write(status, headers or {}, raw, parse.order_ack, NOW_MS)


def error(code: int, msg: str = "m") -> dict[str, Any]:
    return {"code": code, "msg": msg}


REFUSED = [
    (400, -1022),
    (400, -1021),
    (400, -5028),
    (401, -2014),
    (401, -2015),
    (400, -1102),
    (400, -1121),
    (400, -1116),
    (400, -1117),
    (400, -1115),
    (400, -4003),
    (400, -4004),
    (400, -4005),
    (400, -1111),
    (400, -4023),
    (400, -4014),
    (400, -4016),
    (400, -4024),
    (400, -4131),
    (400, -4164),
    (400, -2019),
    (400, -2027),
    (400, -2022),
    (400, -4118),
    (400, -4061),
    (400, -2011),
    (400, -2013),
    (400, -4015),
    (400, -4120),
    (400, -2021),
    (400, -5022),
    (400, -5021),
    (400, -4028),
    (400, -4046),
    (400, -4059),
    (400, -5000),
]


@pytest.mark.parametrize(("status", "code"), REFUSED)
def test_refusals(status: int, code: int) -> None:
    assert classify(status, error(code, "why")) == Refused(status, code, "why", retryable=False)


SHED = [
    (503, {"msg": "Service Unavailable."}, None),
    (503, error(-1008, "Request throttled by system-level protection."), -1008),
    (503, error(-1001, "Internal error; unable to process your request."), -1001),
]


@pytest.mark.parametrize(("status", "body", "code"), SHED)
def test_shed_under_load_is_a_refusal_to_ask_again(status: int, body: Any, code: int) -> None:
    outcome = classify(status, body)
    assert isinstance(outcome, Refused)
    assert outcome.retryable
    assert outcome.code == code


UNKNOWN = [
    (503, {"timestamp": 1, "path": "/fapi/v1/order", "msg": "Unknown error, please check ..."}),
    (503, {"msg": ""}),
    (503, b"<html>503 Service Unavailable</html>"),
    (503, b"Service Unavailable."),
    (503, b""),
    (503, error(-1000)),
    (503, error(-2022)),
    (408, error(-1007)),
    (408, b""),
    (400, error(-1007)),
    (400, error(-1006)),
    (400, error(-1000)),
    (400, error(-4116, "ClientOrderId is duplicated.")),
    (409, {"msg": "half done"}),
    (500, error(-2019)),
    (500, b"<html>"),
    (502, b"<html>"),
    (504, b"<html>"),
    (302, b""),
    (307, b""),
    (100, b""),
    (200, b""),
    (200, b"<html>"),
    (200, b'{"orderId": 1, "symbol": "BTCU'),
    (200, error(-2022)),
    (200, []),
    (200, None),
    (200, b"[" * 100_000),
    (200, b"\xff\xfe"),
    (201, {}),
]


@pytest.mark.parametrize(("status", "body"), UNKNOWN)
def test_what_nobody_can_know(status: int, body: Any) -> None:
    outcome = classify(status, body)
    assert isinstance(outcome, Unknown)
    assert outcome.reason
    assert outcome.http_status == status


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413])
def test_a_front_door_that_turns_away_has_refused(status: int) -> None:
    outcome = classify(status, b"<html>Request URL: /fapi/v1/order?signature=abc</html>")
    assert isinstance(outcome, Refused)
    assert outcome.code is None
    assert "signature" not in outcome.msg


@pytest.mark.parametrize(
    ("status", "body", "headers", "wait_s"),
    [
        (429, error(-1003, "Too many requests; current limit is 2400 requests per minute."), {},
         27.655),
        (429, error(-1015, "Too many new orders; current limit is 300 orders per 10 SECOND."), {},
         7.655),
        (429, error(-1015, "Too many new orders; current limit is 1200 orders per 1 MINUTE."), {},
         27.655),
        (429, error(-1003), {"retry-after": "7"}, 7.0),
        (429, error(-1003), {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, 27.655),
        (429, b"<html>", {}, 27.655),
        (418, error(-1003, f"Way too many requests; banned until {NOW_MS + 90_000}."), {}, 90.0),
        (418, error(-1003, "Way too many requests; banned until 1600000000000."), {}, 1.0),
        (418, error(-1003, f"Way too many requests; banned until {NOW_MS + 90_000}."),
         {"Retry-After": "0"}, 90.0),
        (429, b"", {"Retry-After": "0"}, 27.655),
        (418, b"", {"Retry-After": "300"}, 300.0),
        (418, b"", {}, 120.0),
        (400, error(-1015, "Too many new orders; current limit is 300 orders per 10 SECOND."), {},
         7.655),
        (418, b"", {"Retry-After": "999999999"}, 3 * 86400.0),
    ],
)  # fmt: skip
def test_rate_limits(status: int, body: Any, headers: dict[str, str], wait_s: float) -> None:
    outcome = classify(status, body, headers)
    assert isinstance(outcome, RateLimited)
    assert outcome.retry_after_s == pytest.approx(wait_s)
    assert outcome.banned == (status == 418)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    failure = read_failure("GET /p", status, headers, raw, NOW_MS)
    assert isinstance(failure, ExchangeRateLimited)
    assert failure.retry_after_s == pytest.approx(wait_s)


def test_success() -> None:
    outcome = classify(200, ORDER_ANSWER)
    assert isinstance(outcome, Accepted)
    assert outcome.ack.order_id == 22542179
    assert str(outcome.ack.executed_qty) == "0.010"


def test_success_without_the_fields_that_may_be_missing() -> None:
    bare = {k: v for k, v in ORDER_ANSWER.items() if k not in ("avgPrice", "updateTime")}
    outcome = classify(200, bare)
    assert isinstance(outcome, Accepted)
    assert outcome.ack.avg_price is None


@pytest.mark.parametrize("name", sorted(ORDER_ANSWER.keys() - {"avgPrice", "updateTime"}))
@pytest.mark.parametrize("value", ["gone", None, "", 1.5, "NaN", "Infinity", "1e999", {}, "-1"])
def test_a_success_with_a_bad_field_is_no_success(name: str, value: Any) -> None:
    if name in ("clientOrderId", "symbol", "type") and value in ("-1", "1e999", "NaN", "Infinity"):
        return  # a string like any other
    body = dict(ORDER_ANSWER)
    if value == "gone":
        del body[name]
    else:
        body[name] = value
    outcome = classify(200, body)
    assert isinstance(outcome, Unknown), name
    assert name in outcome.reason


def test_more_filled_than_ordered_is_no_success() -> None:
    assert isinstance(classify(200, {**ORDER_ANSWER, "executedQty": "0.011"}), Unknown)


DOUBTFUL_KINDS = {"execution status unknown", "duplicate client order id among open orders"}
LIMIT_KINDS = {"ip ban", "weight limit", "order-count limit"}


@pytest.mark.data
def test_every_recorded_error(data_dir: Path) -> None:
    recorded = json.loads((data_dir / "real_error_bodies.json").read_text())
    seen = 0
    for item in recorded:
        kind, body = item["kind"], item["body"]
        if kind == "not an error":
            continue
        body = body or error(-2015, "Invalid API-key, IP, or permissions for action.")
        outcome = classify(item["http"], body, item.get("headers"))
        if kind in DOUBTFUL_KINDS:
            assert isinstance(outcome, Unknown), item
        elif kind in LIMIT_KINDS:
            assert isinstance(outcome, RateLimited), item
        else:
            assert isinstance(outcome, Refused), item
            assert outcome.retryable == (kind == "throttled, definite failure"), item
            assert outcome.code == body["code"]
            assert outcome.msg == body["msg"]
        seen += 1
    assert seen >= 20


@pytest.mark.data
def test_recorded_order_answers(data_dir: Path) -> None:
    recorded = json.loads((data_dir / "real_order_responses.json").read_text())
    outcome = classify(200, recorded[0]["body"])
    assert isinstance(outcome, Accepted)
    assert str(outcome.ack.avg_price) == "1.49490"
    assert outcome.ack.final


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
bodies = st.binary(max_size=60) | st.builds(lambda v: json.dumps(v).encode(), json_values)
codes = st.builds(
    lambda code, msg: json.dumps({"code": code, "msg": msg}).encode(),
    st.integers(-6000, 300),
    st.text(max_size=20),
)


@settings(deadline=None)  # a shared machine may be busy
@given(st.integers(100, 599), bodies | codes, st.dictionaries(st.text(), st.text(), max_size=2))
def test_no_answer_breaks_it(status: int, body: bytes, headers: dict[str, str]) -> None:
    outcome = classify(status, body, headers)
    if status in (418, 429):
        assert isinstance(outcome, RateLimited)
        assert outcome.retry_after_s > 0 or headers
    elif not 400 <= status < 500 and status != 503:
        assert isinstance(outcome, Unknown)
    assert isinstance(read_failure("GET /p", status, headers, body, NOW_MS), Exception)


@settings(deadline=None)  # a shared machine may be busy
@given(st.text(max_size=40), st.integers(0, 2**43))
def test_a_wait_is_bounded(msg: str, now_ms: int) -> None:
    for status in (418, 429):
        assert 0 < retry_after_s(status, {}, f"{msg} per 0 SECOND", now_ms) <= 3 * 86400


def test_messages_are_fit_for_one_line() -> None:
    outcome = classify(400, error(-1102, "a\r\nb\x00c\x1b[31m" + "x" * 5000))
    assert isinstance(outcome, Refused)
    assert outcome.msg.isprintable()
    assert outcome.msg.startswith("a b c [31mx")
    assert len(outcome.msg) <= 200


def test_credentials_trouble_is_told_apart() -> None:
    assert ExchangeError(401, -2015, "m", "GET /p").credentials_rejected
    assert not ExchangeError(400, -1121, "m", "GET /p").credentials_rejected
