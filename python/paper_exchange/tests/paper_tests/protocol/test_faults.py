"""Faults: what the client sees, what the exchange did, and what the journal says."""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path

import pytest

from paper_exchange.testing import ControlRefused, PaperExchange

ORDER = {"symbol": "AVAXUSDT", "side": "BUY", "type": "MARKET", "quantity": "5"}


def test_a_line_cut_after_executing(exchange: PaperExchange) -> None:
    exchange.add_fault(method="POST", path="/fapi/v1/order", drop="after", times=1)
    with pytest.raises((OSError, http.client.HTTPException)):
        exchange.signed("POST", "/fapi/v1/order", newClientOrderId="lost", **ORDER)
    [record] = exchange.orders()
    assert (record.outcome, record.reply) == ("accepted", "dropped")
    assert exchange.position("AVAXUSDT") == 5


def test_a_line_cut_before_executing(exchange: PaperExchange) -> None:
    exchange.add_fault(method="POST", path="/fapi/v1/order", drop="before", times=1)
    with pytest.raises((OSError, http.client.HTTPException)):
        exchange.signed("POST", "/fapi/v1/order", **ORDER)
    [record] = exchange.orders()
    assert (record.outcome, record.reply) == ("dropped", "dropped")
    assert exchange.position("AVAXUSDT") == 0
    assert exchange.signed("POST", "/fapi/v1/order", **ORDER).status == 200


@pytest.mark.parametrize(("when", "held"), [("before", 0), ("after", 5)])
def test_an_unknown_outcome_before_and_after_executing(
    exchange: PaperExchange, when: str, held: int
) -> None:
    exchange.add_fault(path="/fapi/v1/order", answer="503_unknown", answer_when=when)
    answer = exchange.signed("POST", "/fapi/v1/order", **ORDER)
    assert answer.status == 503
    assert isinstance(answer.body, dict)
    assert set(answer.body) == {"timestamp", "path", "msg"}
    assert answer.body["path"] == "/fapi/v1/order"
    assert isinstance(answer.body["timestamp"], int)
    assert exchange.position("AVAXUSDT") == held
    assert exchange.orders()[0].reply == "replaced"


def test_every_seventh_and_the_first_few(exchange: PaperExchange) -> None:
    exchange.add_fault(path="/fapi/v1/time", every=7, answer="502_html")
    statuses = [exchange.public("/fapi/v1/time").status for _ in range(21)]
    assert [n for n, status in enumerate(statuses, 1) if status == 502] == [7, 14, 21]
    exchange.clear_faults()
    exchange.add_fault(path="/fapi/v1/time", skip=2, times=2, answer="503_throttled")
    assert [exchange.public("/fapi/v1/time").status for _ in range(5)] == [200, 200, 503, 503, 200]


def test_chance_is_repeatable(exchange: PaperExchange) -> None:
    def play() -> list[int]:
        exchange.clear_faults()
        exchange.add_fault(path="/fapi/v1/time", probability=0.4, seed=3, answer="503_internal")
        return [exchange.public("/fapi/v1/time").status for _ in range(30)]

    first = play()
    assert first == play()
    assert 0 < first.count(503) < 30


def test_rules_match_symbol_and_client_id(exchange: PaperExchange) -> None:
    exchange.add_fault(symbol="BTCUSDT", answer="400_margin")
    exchange.add_fault(client_id="exit-*", answer="400_reduce_only")
    assert exchange.signed("POST", "/fapi/v1/order", **ORDER).status == 200
    named = exchange.signed("POST", "/fapi/v1/order", newClientOrderId="exit-1", **ORDER)
    assert isinstance(named.body, dict)
    assert named.body["code"] == -2022
    bitcoin = {**ORDER, "symbol": "BTCUSDT", "quantity": "0.010"}
    assert exchange.signed("POST", "/fapi/v1/order", **bitcoin).status == 400
    assert [rule["hits"] for rule in exchange.faults()] == [1, 1]


def test_an_answer_of_ones_own(exchange: PaperExchange) -> None:
    answer = {"status": 429, "body": {"code": -1003, "msg": "slow"}, "headers": {"Retry-After": 7}}
    exchange.add_fault(path="/fapi/v1/time", answer=answer)
    got = exchange.public("/fapi/v1/time")
    assert (got.status, got.headers["retry-after"]) == (429, "7")
    assert got.body == {"code": -1003, "msg": "slow"}


def test_delays_add_up_and_are_kept(exchange: PaperExchange) -> None:
    exchange.add_fault(path="/fapi/v1/time", delay_before_ms=150)
    exchange.add_fault(path="/fapi/v1/time", delay_after_ms=100)
    start_s = time.monotonic()
    exchange.public("/fapi/v1/time")
    assert time.monotonic() - start_s >= 0.25


def test_one_slow_order_delays_no_other(exchange: PaperExchange) -> None:
    exchange.add_fault(path="/fapi/v1/premiumIndex", delay_before_ms=5_000)
    start_s = time.monotonic()
    exchange.public("/fapi/v1/time")
    assert time.monotonic() - start_s < 2


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ({}, "the rule does nothing"),
        ({"anser": "502_html"}, "unknown field 'anser'"),
        ({"answer": "no_such"}, "no answer 'no_such'"),
        ({"drop": "sometimes"}, "'drop' must be one of before, after"),
        ({"drop": "after", "every": 0}, "'every' must be 1 or more"),
    ],
)
def test_a_misspelt_rule_is_refused(
    exchange: PaperExchange, rule: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ControlRefused, match=complaint):
        exchange.add_fault(**rule)
    assert exchange.faults() == []


@pytest.mark.data
def test_the_catalogue_is_what_was_recorded(exchange: PaperExchange, data_dir: Path) -> None:
    """Each recorded error that the catalogue names has the recorded status, keys and words."""
    catalogue = exchange.call("GET", "answers")
    ours = {
        (entry["status"], entry["body"].get("code"), frozenset(entry["body"]))
        for entry in catalogue.values()
        if isinstance(entry["body"], dict)
    }
    recorded = json.loads((data_dir / "real_error_bodies.json").read_text(encoding="utf-8"))
    wanted = {
        (entry["http"], entry["body"].get("code"), frozenset(entry["body"]))
        for entry in recorded
        if isinstance(entry["body"], dict) and entry["path"] == "/fapi/v1/order"
    }
    made_by_the_exchange = {-2011, -4164, -4120, -1111}
    left = {want for want in wanted - ours if want[1] not in made_by_the_exchange}
    assert left == set()
