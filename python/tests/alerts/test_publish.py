"""Alerts reach the stream in their form, and never break what raised them."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
import redis

from quantum_exit import keys
from quantum_exit.alerts.publish import AlertType, Severity, publish_alert
from quantum_exit.bus.connection import connect

NOW = 1_700_000_000.25


def test_an_alert_has_the_fields_others_read(redis_client: redis.Redis) -> None:
    details = {"symbol": "BTCUSDT", "before": Decimal("0.5"), "type": AlertType.MODE_CHANGED}
    assert publish_alert(
        redis_client, AlertType.UNAUTHORIZED_POSITION_CHANGE, Severity.CRITICAL, details, NOW
    )
    [(_, fields)] = redis_client.xrange(keys.ALERTS)
    assert fields["alert_type"] == "UNAUTHORIZED_POSITION_CHANGE"
    assert fields["severity"] == "CRITICAL"
    assert float(fields["timestamp"]) == NOW
    assert len(fields["alert_id"]) == 32
    assert json.loads(fields["details"]) == {
        "symbol": "BTCUSDT",
        "before": "0.5",
        "type": "MODE_CHANGED",
    }


def test_ids_differ_and_extra_fields_stand_beside_the_details(redis_client: redis.Redis) -> None:
    for _ in range(2):
        publish_alert(
            redis_client,
            AlertType.EXIT_OWNER_VIOLATION,
            Severity.WARNING,
            {},
            NOW,
            extra={"deny_count": "3"},
        )
    entries = [fields for _, fields in redis_client.xrange(keys.ALERTS)]
    assert len({fields["alert_id"] for fields in entries}) == 2
    assert all(fields["deny_count"] == "3" for fields in entries)


def test_a_huge_alert_is_cut_and_stays_json(redis_client: redis.Redis) -> None:
    publish_alert(redis_client, AlertType.SERVICE_FAILED, Severity.INFO, {"a": "x" * 10**6}, NOW)
    [(_, fields)] = redis_client.xrange(keys.ALERTS)
    assert json.loads(fields["details"])["cut"] is True
    assert len(fields["details"]) < 20_000


@pytest.mark.parametrize("details", [{"bytes": b"\xff"}, {"odd": object()}])
def test_odd_values_are_told_as_text(redis_client: redis.Redis, details: dict[str, object]) -> None:
    assert publish_alert(redis_client, AlertType.MODE_CHANGED, Severity.INFO, details, NOW)


def test_without_redis_it_says_no_and_does_not_raise() -> None:
    nowhere = connect("redis://127.0.0.1:1/0")
    assert not publish_alert(nowhere, AlertType.MODE_CHANGED, Severity.INFO, {}, NOW)


def test_details_that_cannot_be_told_do_not_raise(redis_client: redis.Redis) -> None:
    loop: dict[str, object] = {}
    loop["self"] = loop
    assert not publish_alert(redis_client, AlertType.MODE_CHANGED, Severity.INFO, loop, NOW)
