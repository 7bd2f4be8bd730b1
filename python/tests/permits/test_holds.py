"""P3.3 as a process: books and exchange that differ, and how a hold ends."""

from __future__ import annotations

import json
import time
from decimal import Decimal

import redis

from paper_exchange.testing import PaperExchange
from quantum_exit import keys

from ..processes import Start
from .harness import (
    SYMBOL,
    alerts,
    ask,
    heartbeat,
    ledger,
    permit,
    plan,
    ready,
    send,
    snapshot,
    wait_for,
)


def test_a_mismatch_refuses_holds_and_ends_when_a_person_accepts_it(
    start: Start, redis_client: redis.Redis, exchange: PaperExchange
) -> None:
    ledger(redis_client, "5")
    exchange.set_position(SYMBOL, "3")
    start()
    assert ask(redis_client)["reason"] == "reconcile_required_qty_mismatch"
    hold = keys.reconcile_hold(SYMBOL)
    wait_for(lambda: redis_client.exists(hold), "a hold")
    wait_for(lambda: alerts(redis_client, "RECONCILE_HOLD"), "an alert")
    redis_client.set(keys.reconcile_request(SYMBOL), '{"by": "operator"}')
    wait_for(lambda: not redis_client.exists(keys.reconcile_request(SYMBOL)), "it is served")
    assert not redis_client.exists(hold)
    assert ask(redis_client, "p-2")["safe_qty"] == "3"
    assert len(alerts(redis_client, "RECONCILE_HOLD")) == 1


def test_a_hold_ends_by_itself_when_the_result_arrives(
    start: Start, redis_client: redis.Redis, exchange: PaperExchange
) -> None:
    ledger(redis_client, "-5")
    exchange.set_position(SYMBOL, "3")
    start()
    assert ask(redis_client)["reason"] == "reconcile_required_side_mismatch"
    wait_for(lambda: redis_client.exists(keys.reconcile_hold(SYMBOL)), "a hold")
    ledger(redis_client, "3")
    wait_for(lambda: not redis_client.exists(keys.reconcile_hold(SYMBOL)), "the hold ends")
    assert ask(redis_client, "p-2")["allow"] is True


def test_a_hold_of_somebody_else_stays_until_it_is_taken_away(
    start: Start, redis_client: redis.Redis, exchange: PaperExchange
) -> None:
    exchange.set_position(SYMBOL, "3")
    redis_client.set(keys.reconcile_hold(SYMBOL), "by hand")
    start()
    assert ask(redis_client)["reason"] == "reconcile_hold_active"
    redis_client.delete(keys.reconcile_hold(SYMBOL))
    wait_for(lambda: ready(redis_client), "ready")
    wait_for(lambda: heartbeat(redis_client)["holds"] == "", "no hold")
    assert ask(redis_client, "p-2")["allow"] is True


def test_a_request_in_a_symbol_that_nobody_asks_about_is_served_too(
    start: Start, redis_client: redis.Redis
) -> None:
    start()
    wait_for(lambda: ready(redis_client), "ready")
    redis_client.set(keys.reconcile_hold("ETHUSDT"), "by hand")
    redis_client.set(keys.reconcile_request("ETHUSDT"), "{}")
    wait_for(lambda: not redis_client.exists(keys.reconcile_request("ETHUSDT")), "it is served")
    assert not redis_client.exists(keys.reconcile_hold("ETHUSDT"))


def test_what_others_opened_is_adopted_and_stays_explained_by_our_fills(
    start: Start, redis_client: redis.Redis, exchange: PaperExchange
) -> None:
    exchange.set_position(SYMBOL, "3")
    start()
    assert ask(redis_client)["safe_qty"] == "3"
    exchange.set_position(SYMBOL, "2")
    ledger(redis_client, "-1")
    assert ask(redis_client, "p-2")["safe_qty"] == "2"
    exchange.set_position(SYMBOL, "1")
    wait_for(lambda: snapshot(redis_client)["position_amt"] == "1", "it is seen")
    assert ask(redis_client, "p-3")["reason"] == "reconcile_required_qty_mismatch"


def test_an_order_in_flight_is_no_mismatch(
    start: Start, redis_client: redis.Redis, exchange: PaperExchange
) -> None:
    ledger(redis_client, "3")
    exchange.set_position(SYMBOL, "3")
    start()
    assert ask(redis_client)["safe_qty"] == "3"
    grant = {"symbol": SYMBOL, "type": "MARKET", "state": "granted"}
    redis_client.hset(keys.EXECUTOR_OPEN, "x", json.dumps(grant))
    exchange.set_position(SYMBOL, "1")
    assert ask(redis_client, "p-2")["safe_qty"] == "1"
    redis_client.hset(keys.EXECUTOR_OPEN, "x", json.dumps(grant | {"state": "unknown"}))
    assert ask(redis_client, "p-3")["reason"] == "cooldown"


def test_a_stop_that_fired_on_the_exchange_explains_itself(
    start: Start, redis_client: redis.Redis, exchange: PaperExchange
) -> None:
    exchange.set_position(SYMBOL, "0.3")
    ledger(redis_client, "0.3")
    stop = {
        "algoType": "CONDITIONAL",
        "symbol": SYMBOL,
        "side": "SELL",
        "type": "STOP_MARKET",
        "quantity": "0.2",
        "triggerPrice": "55000",
        "reduceOnly": "true",
        "clientAlgoId": "qs-1",
    }
    answer = exchange.signed("POST", "/fapi/v1/algoOrder", **stop)
    assert answer.status == 200, answer.body
    result = {
        "plan_id": "exit-x",
        "symbol": SYMBOL,
        "executed": "true",
        "client_order_id": "qs-1",
        "order_status": "NEW",
    }
    redis_client.xadd(keys.APPLY_RESULT, dict(result))
    start()
    assert ask(redis_client)["safe_qty"] == "0.3"
    exchange.set_price(SYMBOL, "54000")
    wait_for(lambda: exchange.position(SYMBOL) == Decimal("0.1"), "the stop fires")
    wait_for(lambda: snapshot(redis_client)["position_amt"] == "0.1", "it is seen")
    assert ask(redis_client, "p-2")["safe_qty"] == "0.1"
    exchange.set_position(SYMBOL, "0.05")
    wait_for(lambda: redis_client.exists(keys.reconcile_hold(SYMBOL)), "others are not explained")
    assert len(alerts(redis_client, "RECONCILE_HOLD")) == 1


def test_an_exit_of_the_owner_passes_a_hold_that_nobody_resolves(
    start: Start, redis_client: redis.Redis, exchange: PaperExchange
) -> None:
    ledger(redis_client, "5")
    exchange.set_position(SYMBOL, "3")
    hold = {
        "by": "p33",
        "exchange_amt": "3",
        "books_amt": "5",
        "since_epoch": f"{time.time() - 60:.6f}",
    }
    redis_client.hset(keys.reconcile_hold(SYMBOL), mapping=hold)
    start()
    body = ask(redis_client)
    assert (body["safe_qty"], body["reason"]) == ("3", "owner_exit_despite_hold")
    send(redis_client, plan("p-2", side="BUY", reduceOnly="false", source="intent_bridge"))
    assert permit(redis_client, "p-2")["reason"] == "reconcile_required_qty_mismatch"
