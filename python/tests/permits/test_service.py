"""P3.3 as a process, through a real Redis and the paper exchange."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Protocol

import pytest
import redis

from paper_exchange.testing import PaperExchange
from quantum_exit import keys
from quantum_exit.signing import INTENT_FIELDS, PLAN_FIELDS, Signer, generate_seed

OWNER = "exitbrain_v3_5"
SIGNER = Signer(generate_seed())
SYMBOL = "BTCUSDT"
Start = Callable[..., subprocess.Popen[bytes]]


def wait_for(condition: Callable[[], object], what: str, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def shared_exchange() -> Iterator[PaperExchange]:
    with PaperExchange() as exchange:
        yield exchange


@pytest.fixture
def exchange(shared_exchange: PaperExchange) -> PaperExchange:
    shared_exchange.reset()
    shared_exchange.set_price(SYMBOL, "60000")
    return shared_exchange


@pytest.fixture
def start(redis_url: str, exchange: PaperExchange) -> Iterator[Start]:
    processes: list[subprocess.Popen[bytes]] = []

    def run(**changes: str) -> subprocess.Popen[bytes]:
        environ = {
            "PATH": os.environ["PATH"],
            "REDIS_URL": redis_url,
            "BINANCE_TESTNET": "true",
            "BINANCE_BASE_URL": exchange.base_url,
            "BINANCE_API_KEY": exchange.api_key,
            "BINANCE_API_SECRET": exchange.secret_key,
            "QUANTUM_PUBLIC_KEY_EXITBRAIN_V3_5": SIGNER.public_hex,
        } | changes
        process = subprocess.Popen(
            [sys.executable, "-m", "quantum_exit.permits"], env=environ, stdout=subprocess.DEVNULL
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.wait()


def heartbeat(client: redis.Redis) -> dict[str, str]:
    return dict(client.hgetall(keys.heartbeat("position_state")))


def ready(client: redis.Redis) -> bool:
    return heartbeat(client).get("ready") == "true"


def plan(plan_id: str = "p-1", **changes: str) -> dict[str, str]:
    return {
        "plan_id": plan_id,
        "decision": "EXECUTE",
        "symbol": SYMBOL,
        "side": "SELL",
        "type": "MARKET",
        "qty": "5",
        "reduceOnly": "true",
        "source": OWNER,
        "signature": "apply_layer",
        "timestamp": f"{time.time():.6f}",
    } | changes


def signed(fields: dict[str, str]) -> dict[str, str]:
    return fields | {"sig": SIGNER.sign(fields, PLAN_FIELDS)}


def send(client: redis.Redis, fields: dict[str, str], stream: str = keys.APPLY_PLAN) -> str:
    return str(client.xadd(stream, dict(fields)))


def permit(client: redis.Redis, plan_id: str = "p-1", timeout_s: float = 15) -> dict[str, Any]:
    wait_for(lambda: client.exists(keys.permit(plan_id)), f"a permit for {plan_id}", timeout_s)
    body: dict[str, Any] = json.loads(client.get(keys.permit(plan_id)))
    return body


def ask(client: redis.Redis, plan_id: str = "p-1", **changes: str) -> dict[str, Any]:
    send(client, signed(plan(plan_id, **changes)))
    return permit(client, plan_id)


def snapshot(client: redis.Redis, symbol: str = SYMBOL) -> dict[str, str]:
    return dict(client.hgetall(keys.snapshot(symbol)))


def alerts(client: redis.Redis, alert_type: str) -> list[dict[str, str]]:
    found = [fields for _, fields in client.xrange(keys.ALERTS)]
    return [fields for fields in found if fields["alert_type"] == alert_type]


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


def ledger(client: redis.Redis, amount: str) -> None:
    client.hset(
        keys.ledger(SYMBOL),
        mapping={"position_amt": amount, "updated_at": f"{time.time():.6f}"},
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


def test_killed_in_the_middle_every_plan_has_its_permit(
    start: Start, redis_client: redis.Redis, exchange: PaperExchange
) -> None:
    exchange.set_position(SYMBOL, "3")
    process = start()
    for n in range(60):
        send(redis_client, signed(plan(f"p-{n}")))
        if n % 20 == 10:
            process.kill()
            process.wait()
            process = start()
    for n in range(60):
        assert permit(redis_client, f"p-{n}")["safe_qty"] == "3"


def test_it_ends_on_request_and_says_what_is_misconfigured(
    start: Start, redis_client: redis.Redis
) -> None:
    process = start()
    wait_for(lambda: ready(redis_client), "ready")
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0
    assert start(BINANCE_API_KEY="").wait(10) == 78
    assert start(USE_BINANCE_TESTNET="false").wait(10) == 78


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


def test_redis_lost_and_restored(
    start: Start, redis_client: redis.Redis, exchange: PaperExchange
) -> None:
    exchange.set_position(SYMBOL, "3")
    start()
    assert ask(redis_client)["allow"] is True
    redis_client.flushall()
    assert ask(redis_client)["allow"] is True
    wait_for(lambda: ready(redis_client), "ready")
    wait_for(lambda: snapshot(redis_client).get("position_amt") == "3", "a snapshot")


class Killable(Protocol):
    """A Redis that a test may kill."""

    url: str

    def start(self) -> None: ...
    def kill(self) -> None: ...
    def client(self) -> redis.Redis: ...


def test_with_redis_gone_it_waits_and_goes_on(
    start: Start, durable_redis: Killable, exchange: PaperExchange
) -> None:
    exchange.set_position(SYMBOL, "3")
    process = start(REDIS_URL=durable_redis.url)
    assert ask(durable_redis.client())["allow"] is True
    durable_redis.kill()
    durable_redis.start()
    client = durable_redis.client()
    assert ask(client, "p-2")["allow"] is True
    assert process.poll() is None


def test_a_slow_exchange_delays_no_heartbeat(
    start: Start, redis_client: redis.Redis, exchange: PaperExchange
) -> None:
    exchange.set_position(SYMBOL, "3")
    start()
    wait_for(lambda: ready(redis_client), "ready")
    exchange.add_fault(path="/fapi/*", delay_before_ms=2_500)
    sent = time.monotonic()
    assert ask(redis_client)["allow"] is True
    assert time.monotonic() - sent < 8, "within the wait of the executor"
    beat = float(heartbeat(redis_client)["ts_epoch"])
    assert time.time() - beat < 1.0


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
