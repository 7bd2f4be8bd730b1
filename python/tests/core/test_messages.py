"""Parsing never raises, and what it lets through keeps to the wire's format."""

from __future__ import annotations

import json
import re
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum_exit.messages import (
    INTENT_REQUIRED,
    PLAN_REQUIRED,
    ExitIntent,
    IntentAction,
    Malformed,
    OrderType,
    Plan,
    decode_fields,
    dump_embedded_intent,
    parse_embedded_intent,
    parse_intent,
    parse_plan,
)
from quantum_exit.values import (
    InvalidNumberError,
    PositionSide,
    format_number,
    parse_amount,
    parse_number,
)

from .wire import INTENT, PLAN, almost, noise, raw_plans

_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def read_plan(raw: dict[bytes, bytes]) -> Plan | Malformed:
    fields = decode_fields(raw)
    return fields if isinstance(fields, Malformed) else parse_plan(fields)


def read_intent(raw: dict[bytes, bytes]) -> ExitIntent | Malformed:
    fields = decode_fields(raw)
    return fields if isinstance(fields, Malformed) else parse_intent(fields)


def check_malformed(malformed: Malformed) -> None:
    assert malformed.error.startswith(("missing_required_fields:", "invalid_field:"))
    assert not malformed.error.endswith(":")
    assert not malformed.error.endswith("None")


def check_plan(plan: Plan) -> None:
    wire = plan.wire
    assert all(wire[name] for name in PLAN_REQUIRED)
    assert not any(_CONTROL.search(value) for name, value in wire.items() if name != "sig")
    for name in ("qty", "timestamp"):
        assert _NUMBER.fullmatch(wire[name])
    assert plan.qty == Decimal(wire["qty"])
    assert plan.symbol == wire["symbol"]
    assert plan.side.value == wire["side"]
    assert plan.reduce_only == (wire.get("reduceOnly", "true").lower() == "true")
    if plan.decision.value == "EXECUTE" and plan.type is not OrderType.CANCEL:
        assert plan.qty > 0
    if plan.type is OrderType.STOP_MARKET:
        assert plan.trigger_price


def check_intent(intent: ExitIntent) -> None:
    wire = intent.wire
    assert all(wire[name] for name in INTENT_REQUIRED)
    assert _NUMBER.fullmatch(wire["ts_epoch"])
    assert intent.side is not PositionSide.FLAT
    assert intent.qty_fraction is None or 0 < intent.qty_fraction <= 1
    if intent.action is not IntentAction.CANCEL_STOP:
        assert intent.quantity
    if intent.action is IntentAction.PLACE_STOP:
        assert intent.trigger_price


@given(raw_plans)
def test_any_entry_becomes_a_plan_or_says_what_is_wrong(raw: dict[bytes, bytes]) -> None:
    plan = read_plan(raw)
    check_plan(plan) if isinstance(plan, Plan) else check_malformed(plan)


@given(st.one_of(almost(INTENT), almost(PLAN), noise))
def test_any_entry_becomes_an_intent_or_says_what_is_wrong(raw: dict[bytes, bytes]) -> None:
    intent = read_intent(raw)
    check_intent(intent) if isinstance(intent, ExitIntent) else check_malformed(intent)


@given(st.one_of(st.text(), st.binary().map(lambda b: b.decode("latin-1"))))
def test_any_text_becomes_an_embedded_intent_or_is_refused(text: str) -> None:
    check_malformed_or_intent(parse_embedded_intent(text))


def check_malformed_or_intent(intent: ExitIntent | Malformed) -> None:
    check_intent(intent) if isinstance(intent, ExitIntent) else check_malformed(intent)


@given(almost(INTENT))
def test_an_intent_survives_being_embedded(raw: dict[bytes, bytes]) -> None:
    intent = read_intent(raw)
    if isinstance(intent, ExitIntent):
        again = parse_embedded_intent(dump_embedded_intent(intent))
        assert isinstance(again, ExitIntent)
        assert again.wire == intent.wire


@pytest.mark.long
@pytest.mark.timeout(7200)
@settings(max_examples=1_000_000, deadline=None, database=None)
@given(raw_plans)
def test_a_million_entries(raw: dict[bytes, bytes]) -> None:
    plan = read_plan(raw)
    check_plan(plan) if isinstance(plan, Plan) else check_malformed(plan)
    check_malformed_or_intent(read_intent(raw))
    text = raw.get(b"intent", b"").decode("utf-8", "replace")
    check_malformed_or_intent(parse_embedded_intent(text))


def changed(**fields: str | None) -> Plan | Malformed:
    return parse_plan({k: v for k, v in {**PLAN, **fields}.items() if v is not None})


@pytest.mark.parametrize("name", PLAN_REQUIRED)
@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_required_field_that_is_missing_is_named(name: str, value: str | None) -> None:
    plan = changed(**{name: value})
    assert isinstance(plan, Malformed)
    assert plan.error == f"missing_required_fields:{name}"


def test_all_missing_fields_are_named() -> None:
    plan = changed(qty=None, plan_id="", source=None)
    assert isinstance(plan, Malformed)
    assert plan.error == "missing_required_fields:plan_id,qty,source"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("qty", bad) for bad in ("-1", "+1", "1e3", "NaN", "inf", "0", ".5", "5.", "1,5", "٣")],
        *[("timestamp", bad) for bad in ("-1", "now", "1e9", "1700000000 ")],
        *[("plan_id", bad) for bad in ("a b", "a\nb", "a\x7fb", "x" * 129)],
        *[("symbol", bad) for bad in ("btcusdt", "BTC USDT", "BTC/USDT", "B" * 41)],
        *[("source", bad) for bad in ("a b", "ü", "x" * 65, "a\nb")],
        *[("side", bad) for bad in ("buy", "LONG", "SELL ")],
        *[("decision", bad) for bad in ("execute", "YES")],
        *[("type", bad) for bad in ("", "LIMIT", "market", "TAKE_PROFIT_MARKET")],
        *[("reduceOnly", bad) for bad in ("", "yes", "1", "0", "tru")],
        *[("reason", bad) for bad in ("a\nb", "a\x00", "x" * 1001, "a\u2028b")],
        *[("action", bad) for bad in ("a\nb",)],
        *[("signature", bad) for bad in ("a\nb",)],
        *[("trigger_price", bad) for bad in ("-1", "1e3", "x")],
        *[("intent", bad) for bad in ("x" * 8001, "{}\n")],
    ],
)
def test_a_field_that_is_wrong_is_named(name: str, value: str) -> None:
    plan = changed(**{name: value})
    assert isinstance(plan, Malformed)
    assert plan.error == f"invalid_field:{name}"


def test_a_missing_reduce_only_counts_as_true() -> None:
    plan = changed(reduceOnly=None)
    assert isinstance(plan, Plan)
    assert plan.reduce_only
    assert not plan.reduce_only_said


@pytest.mark.parametrize("word", ["false", "False", "FALSE"])
def test_reduce_only_is_read_in_any_case(word: str) -> None:
    plan = changed(reduceOnly=word)
    assert isinstance(plan, Plan)
    assert not plan.reduce_only


def test_a_missing_type_is_market_and_unlisted_fields_are_ignored() -> None:
    plan = changed(type=None, note="hello")
    assert isinstance(plan, Plan)
    assert plan.type is OrderType.MARKET
    assert "note" not in plan.wire


def test_a_blocked_plan_needs_no_quantity_to_execute() -> None:
    assert isinstance(changed(decision="BLOCKED", qty="0"), Plan)
    assert isinstance(changed(type="CANCEL", qty="0"), Plan)
    assert isinstance(changed(type="STOP_MARKET"), Malformed)
    assert isinstance(changed(type="STOP_MARKET", trigger_price="1"), Plan)


def test_what_is_not_utf8_is_an_invalid_field() -> None:
    raw = {k.encode(): v.encode() for k, v in PLAN.items()} | {b"reason": b"\xff"}
    plan = read_plan(raw)
    assert isinstance(plan, Malformed)
    assert plan.error == "invalid_field:reason"
    assert plan.fields["plan_id"] == "exit-1"


def test_a_name_that_is_not_utf8_is_an_unlisted_field() -> None:
    raw = {k.encode(): v.encode() for k, v in PLAN.items()} | {b"\xff": b"\xff"}
    assert isinstance(read_plan(raw), Plan)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "1",
        '"x"',
        "{",
        "[" * 100_000,
        '{"a":' * 100_000,
        "1" * 10_000,
        json.dumps({**INTENT, "quantity": 0.5}),
        json.dumps({**INTENT, "quantity": None}),
        json.dumps({**INTENT, "quantity": {"a": "b"}}),
        json.dumps(INTENT)[:-1] + ',"quantity":"9"}',
    ],
)
def test_what_is_no_object_of_strings_each_once_is_no_intent(text: str) -> None:
    assert isinstance(parse_embedded_intent(text), Malformed)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("qty_fraction", "0"),
        ("qty_fraction", "1.0001"),
        ("qty_fraction", "-0.5"),
        ("quantity", "0"),
        ("quantity", ""),
        ("side", "FLAT"),
        ("side", "SELL"),
        ("action", "OPEN"),
        ("intent_id", "a b"),
        ("mark_price", "x"),
        ("entry_price", "-1"),
        ("ts_epoch", "soon"),
        ("reason", "a\tb"),
    ],
)
def test_a_wrong_field_of_an_intent_is_named(name: str, value: str) -> None:
    intent = parse_intent({**INTENT, name: value})
    assert isinstance(intent, Malformed)
    assert intent.error == f"invalid_field:{name}"


def test_a_stop_needs_its_trigger_and_a_cancel_no_quantity() -> None:
    assert isinstance(parse_intent({**INTENT, "action": "PLACE_STOP"}), Malformed)
    stop = parse_intent({**INTENT, "action": "PLACE_STOP", "trigger_price": "5"})
    assert isinstance(stop, ExitIntent)
    cancel = {k: v for k, v in INTENT.items() if k != "quantity"} | {"action": "CANCEL_STOP"}
    assert isinstance(parse_intent(cancel), ExitIntent)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=0, max_value=10**20, places=12))
def test_numbers_are_written_as_they_are_read(number: Decimal) -> None:
    text = format_number(number)
    assert parse_number(text) == number
    assert "e" not in text.lower()
    assert not (text.endswith("0") and "." in text)


@given(st.text(max_size=12))
def test_a_number_that_is_read_is_finite_and_plain(text: str) -> None:
    for parse, pattern in ((parse_number, r"[0-9]+(\.[0-9]+)?"), (parse_amount, r"[+-]?[0-9.]+")):
        try:
            number = parse(text)
        except InvalidNumberError:
            continue
        assert re.fullmatch(pattern, text)
        assert number.is_finite()
