"""Leave for a time: the manual lane, delegations, re-arming; each ends by itself and is told."""

from __future__ import annotations

import json

import pytest

from quantum_exit import keys

from .shell import Operator


def alerts(operator: Operator) -> list[str]:
    return [fields["alert_type"] for _, fields in operator.redis.xrange(keys.ALERTS)]


def events(operator: Operator) -> list[str]:
    return [
        json.loads(text)["event"] for text in operator.redis.lrange(keys.EXITBRAIN_CONTROL, 0, 9)
    ]


def test_the_manual_lane_goes_on_with_an_end_and_off(operator: Operator) -> None:
    assert operator.run("manual-lane", "on", "--ttl", "15m").code == 0
    assert operator.redis.get(keys.MANUAL_LANE_ENABLED) == "1"
    assert 890 < operator.redis.ttl(keys.MANUAL_LANE_ENABLED) <= 900
    assert alerts(operator) == ["MANUAL_LANE_ENABLED"]
    assert operator.run("manual-lane", "off").code == 0
    assert not operator.redis.exists(keys.MANUAL_LANE_ENABLED)
    assert events(operator) == ["MANUAL_LANE_DISABLED", "MANUAL_LANE_ENABLED"]


@pytest.mark.parametrize("arguments", [(), ("--ttl", "2d"), ("--ttl", "25h"), ("--ttl", "soon")])
def test_never_without_an_end(operator: Operator, arguments: tuple[str, ...]) -> None:
    assert operator.run("manual-lane", "on", *arguments).code == 3
    assert not operator.redis.exists(keys.MANUAL_LANE_ENABLED)


def test_a_delegation_holds_for_a_time_in_one_symbol(operator: Operator) -> None:
    done = operator.run(
        *("delegate", "manual_close", "--ttl", "90s", "--symbol", "btcusdt"),
        *("--reason", "the app is down"),
    )
    assert done.code == 0, done
    key = keys.delegation("manual_close")
    leave = json.loads(operator.redis.get(key) or "")
    assert (leave["symbol"], leave["reason"]) == ("BTCUSDT", "the app is down")
    assert 80 < operator.redis.ttl(key) <= 90
    assert alerts(operator) == ["DELEGATION_GRANTED"]
    assert "manual_close" in operator.run("audit").out
    done = operator.run("delegate", "manual_close", "--revoke", "--reason", "done")
    assert done.code == 0
    assert not operator.redis.exists(key)


def test_without_a_symbol_it_holds_in_all(operator: Operator) -> None:
    operator.run("delegate", "manual_close", "--ttl", "1m", "--reason", "test")
    assert json.loads(operator.redis.get(keys.delegation("manual_close")) or "")["symbol"] is None


@pytest.mark.parametrize(
    "arguments",
    [
        ("manual_close", "--reason", "no end"),
        ("manual_close", "--ttl", "15m"),
        ("manual_close", "--ttl", "15m", "--reason", " "),
        ("a b", "--ttl", "15m", "--reason", "x"),
        ("manual_close", "--ttl", "15m", "--reason", "x", "--symbol", "BTC/USDT"),
        ("exitbrain_v3_5", "--ttl", "15m", "--reason", "x"),
    ],
)
def test_what_is_no_delegation(operator: Operator, arguments: tuple[str, ...]) -> None:
    assert operator.run("delegate", *arguments).code == 3
    assert list(operator.redis.scan_iter(match=keys.delegation("*"))) == []


def test_a_stopped_source_is_rearmed(operator: Operator) -> None:
    key = keys.executor_stopped_source("intent_bridge")
    operator.redis.set(key, "1")
    assert "intent_bridge" in operator.run("audit").out
    assert operator.run("rearm", "intent_bridge").code == 0
    assert not operator.redis.exists(key)
    assert operator.run("rearm", "intent_bridge").code == 2


def test_what_gives_no_right_is_not_told_as_one(operator: Operator) -> None:
    """Written by hand: without an end, or as no object. The executor goes by neither."""
    operator.redis.set(keys.delegation("endless"), json.dumps({"symbol": None}))
    operator.redis.set(keys.delegation("text"), "yes", ex=60)
    operator.redis.set(keys.delegation("good"), "{}", ex=60)
    named = [row["source"] for row in operator.run("status", "--json").json["delegations"]]
    assert named == ["good"]
    audit = operator.run("audit")
    assert "good" in audit.out
    assert "endless" not in audit.out


def test_a_stopped_source_is_seen_at_one_glance(operator: Operator) -> None:
    for key in (keys.executor_done("a:b"), keys.executor_intent_used("c"), keys.ledger("X")):
        operator.redis.set(key, "1")
    assert "STOPPED" not in operator.run("status").out
    operator.redis.set(keys.executor_stopped_source("intent_bridge"), "plan-1")
    assert operator.run("status", "--json").json["stopped_sources"] == ["intent_bridge"]
    assert "STOPPED   intent_bridge" in operator.run("top", "--once").out
    assert operator.run("rearm", "intent_bridge").code == 0
    assert "STOPPED" not in operator.run("status").out
