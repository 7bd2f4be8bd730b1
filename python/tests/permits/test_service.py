"""P3.3 as a process: what it permits, what it refuses, what it says."""

from __future__ import annotations

import json
import time
from typing import Any

import redis

from paper_exchange.testing import PaperExchange
from quantum_exit import keys
from quantum_exit.signing import INTENT_FIELDS

from ..processes import Start
from .harness import (
    OWNER,
    SIGNER,
    SYMBOL,
    ask,
    heartbeat,
    permit,
    plan,
    ready,
    send,
    signed,
    snapshot,
    wait_for,
)


def test_snapshots_say_what_is_held_and_what_is_flat(
    start: Start, redis_client: redis.Redis, exchange: PaperExchange
) -> None:
    exchange.set_position(SYMBOL, "-2")
    start()
    wait_for(lambda: snapshot(redis_client), "a snapshot")
    row = snapshot(redis_client)
    assert (row["position_amt"], row["side"], row["mark_price"]) == ("-2", "SHORT", "60000")
    assert int(row["leverage"]) >= 1
    assert abs(time.time() - float(row["ts_epoch"])) < 5
    assert json.loads(redis_client.hget(keys.SNAPSHOT_STATE, "symbols")) == [SYMBOL]
    exchange.set_position(SYMBOL, 0)
    wait_for(lambda: snapshot(redis_client)["side"] == "FLAT", "it is seen flat")
    first = float(snapshot(redis_client)["ts_epoch"])
    wait_for(lambda: float(snapshot(redis_client)["ts_epoch"]) > first, "flat stays fresh")
    assert snapshot(redis_client)["position_amt"] == "0"


def test_a_row_that_cannot_be_read_is_not_flat_and_leaves_the_others_fresh(
    start: Start, redis_client: redis.Redis, exchange: PaperExchange
) -> None:
    """Beside it the exits of all other symbols go on."""
    other = "ETHUSDT"
    exchange.set_position(SYMBOL, "2")
    exchange.set_position(other, "3")
    start()
    wait_for(lambda: snapshot(redis_client) and snapshot(redis_client, other), "snapshots")
    rows = exchange.signed("GET", "/fapi/v3/positionRisk").body
    broken = [{**row, "positionAmt": "?"} if row["symbol"] == SYMBOL else row for row in rows]
    exchange.add_fault(path="/fapi/v3/positionRisk", answer={"status": 200, "body": broken})
    wait_for(lambda: heartbeat(redis_client).get("unreadable") == SYMBOL, "it is told")
    before = snapshot(redis_client)
    seen = float(snapshot(redis_client, other)["ts_epoch"])
    wait_for(
        lambda: float(snapshot(redis_client, other)["ts_epoch"]) > seen, "the other one goes on"
    )
    assert heartbeat(redis_client)["ready"] == "true"
    assert snapshot(redis_client) == before
    state = redis_client.hget(keys.SNAPSHOT_STATE, "symbols")
    assert json.loads(state) == [SYMBOL, other]
    assert ask(redis_client, "other", symbol=other)["safe_qty"] == "3"
    assert ask(redis_client)["reason"] == "stale_exchange_state"
    redis_client.delete(keys.snapshot(SYMBOL))
    exchange.clear_faults()
    wait_for(lambda: snapshot(redis_client).get("position_amt") == "2", "it is read again")


def test_an_exit_is_permitted_up_to_the_position(
    start: Start, redis_client: redis.Redis, exchange: PaperExchange
) -> None:
    exchange.set_position(SYMBOL, "2")
    start()
    wait_for(lambda: ready(redis_client), "ready")
    events = redis_client.pubsub()
    events.subscribe(keys.PERMIT_READY_CHANNEL)
    entry_id = send(redis_client, signed(plan()))
    body = permit(redis_client)
    assert (body["allow"], body["symbol"], body["safe_qty"]) == (True, SYMBOL, "2")
    assert (body["source"], body["entry_id"], body["verified"]) == (OWNER, entry_id, True)
    assert 55 <= redis_client.ttl(keys.permit("p-1")) <= 60
    heard: list[Any] = []
    wait_for(
        lambda: heard.append(events.get_message()) or any(m and m["data"] == "p-1" for m in heard),
        "the event",
    )
    wait_for(lambda: redis_client.xinfo_groups(keys.APPLY_PLAN)[0]["pending"] == 0, "acknowledged")


def test_the_manual_stream_has_permits_too_and_opening_is_as_asked(
    start: Start, redis_client: redis.Redis
) -> None:
    start()
    fields = plan(side="BUY", reduceOnly="false", source="intent_bridge")
    send(redis_client, fields, keys.APPLY_PLAN_MANUAL)
    body = permit(redis_client)
    assert (body["allow"], body["safe_qty"], body["verified"]) == (True, "0", False)


def test_what_needs_no_permit_is_acknowledged(start: Start, redis_client: redis.Redis) -> None:
    send(redis_client, plan("blocked", decision="BLOCKED"))
    send(redis_client, {"noise": "x" * 100_000})
    send(redis_client, plan("old", timestamp="1700000000"))
    start()
    assert ask(redis_client, "last")["allow"] is False
    assert redis_client.keys(keys.permit("*")) == [keys.permit("last")]


def test_a_flat_symbol_is_refused(start: Start, redis_client: redis.Redis) -> None:
    start()
    assert ask(redis_client)["reason"] == "no_position"
    assert snapshot(redis_client)["side"] == "FLAT"


def test_a_position_opened_a_moment_ago_is_seen(
    start: Start, redis_client: redis.Redis, exchange: PaperExchange
) -> None:
    start()
    wait_for(lambda: ready(redis_client), "ready")
    for n in range(5):
        exchange.set_position(SYMBOL, "1")
        assert ask(redis_client, f"p-{n}")["safe_qty"] == "1"
        exchange.set_position(SYMBOL, 0)
        wait_for(lambda: snapshot(redis_client)["side"] == "FLAT", "it is seen flat")


def test_without_the_exchange_nothing_is_permitted_and_it_resumes(
    start: Start, redis_client: redis.Redis, exchange: PaperExchange
) -> None:
    exchange.set_position(SYMBOL, "1")
    exchange.add_fault(path="/fapi/*", drop="before")
    start()
    wait_for(lambda: heartbeat(redis_client), "a heartbeat")
    assert ask(redis_client)["allow"] is False
    assert not ready(redis_client)
    exchange.clear_faults()
    wait_for(lambda: ready(redis_client), "ready again")
    assert ask(redis_client, "p-2")["allow"] is True


def test_hedge_mode_is_not_ready_and_permits_nothing(
    start: Start, redis_client: redis.Redis, exchange: PaperExchange
) -> None:
    exchange.set_hedge_mode(True)
    start()
    assert ask(redis_client)["reason"] == "hedge_mode"
    assert "one-way" in heartbeat(redis_client)["status"]


def test_a_clock_that_is_off_is_said_with_its_amount(
    start: Start, redis_client: redis.Redis, exchange: PaperExchange
) -> None:
    exchange.set_position(SYMBOL, "1")
    exchange.set_clock_offset(5_000)
    start()
    assert ask(redis_client)["reason"] == "clock_off"
    assert "the exchange is +" in heartbeat(redis_client)["status"]


def test_a_guessed_plan_id_neither_replaces_nor_blocks_the_owners_permit(
    start: Start, redis_client: redis.Redis, exchange: PaperExchange
) -> None:
    exchange.set_position(SYMBOL, "3")
    start()
    wait_for(lambda: ready(redis_client), "ready")
    send(redis_client, plan(source="intent_bridge"))
    send(redis_client, plan())
    mine = send(redis_client, signed(plan()))
    send(redis_client, plan(source="intent_bridge", qty="1"))
    send(redis_client, signed(plan()))
    wait_for(
        lambda: (
            redis_client.xinfo_groups(keys.APPLY_PLAN)[0]["pending"] == 0
            and redis_client.xinfo_groups(keys.APPLY_PLAN)[0]["lag"] == 0
        ),
        "all acknowledged",
    )
    body = permit(redis_client)
    assert (body["entry_id"], body["verified"], body["allow"]) == (mine, True, True)


def test_an_embedded_intent_proves_the_owner(
    start: Start, redis_client: redis.Redis, exchange: PaperExchange
) -> None:
    exchange.set_position(SYMBOL, "3")
    start()
    intent = {
        "intent_id": "i-1",
        "symbol": SYMBOL,
        "action": "FULL_CLOSE",
        "side": "LONG",
        "quantity": "5",
        "source": OWNER,
        "ts_epoch": f"{time.time():.6f}",
    }
    intent["sig"] = SIGNER.sign(intent, INTENT_FIELDS)
    send(redis_client, plan(intent=json.dumps(intent)))
    assert permit(redis_client)["verified"] is True
