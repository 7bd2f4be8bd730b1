"""`exitctl kill` from outside: both places, what it waits for, and what it says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from quantum_exit import keys

from ..conftest import RedisServer, wait_for
from .shell import WINDOW_MS, Operator


def test_with_nothing_on_its_way_it_is_done_at_once(operator: Operator) -> None:
    done = operator.run("kill", "--reason", "a  drill\nof ours", "--json")
    assert done.code == 0, done
    assert done.json["orders"] == []
    assert (done.json["engaged"], done.json["certain"]) == (True, True)
    assert operator.file_word == "on"
    switch = json.loads(operator.redis.get(keys.KILL_SWITCH) or "")
    assert switch["active"] is True
    assert switch["reason"] == "a drill of ours"
    assert abs(switch["epoch"] - time.time()) < 10


def test_it_leaves_an_alert_and_at_most_a_hundred_control_entries(operator: Operator) -> None:
    operator.redis.lpush(keys.EXITBRAIN_CONTROL, *(["{}"] * 150))
    operator.run("kill", "--reason", "drill")
    assert operator.redis.llen(keys.EXITBRAIN_CONTROL) == 100
    newest = json.loads(operator.redis.lindex(keys.EXITBRAIN_CONTROL, 0) or "")
    assert (newest["event"], newest["reason"]) == ("KILL_SWITCH_ENGAGED", "drill")
    [(_, alert)] = operator.redis.xrange(keys.ALERTS)
    assert (alert["alert_type"], alert["severity"]) == ("KILL_SWITCH_ENGAGED", "CRITICAL")


def test_it_waits_until_an_order_on_its_way_is_settled(operator: Operator) -> None:
    signed_ms = operator.grant("a", window_ms=30_000)

    def settle_once_it_waits() -> None:
        wait_for(lambda: operator.switched_on, "the switch is on", 20)
        time.sleep(0.2)  # long enough to be looked at: an order settled unseen is none to name
        operator.redis.hdel(keys.EXECUTOR_OPEN, "a")

    settling = threading.Thread(target=settle_once_it_waits)
    settling.start()
    done = operator.run("kill", "--json")
    settling.join()
    assert done.code == 0, done
    assert operator.exchange.state()["now_ms"] < signed_ms + 30_000
    [order] = done.json["orders"]
    assert "BTCUSDT SELL MARKET 0.010" in order["order"]
    assert "settled" in order["outcome"]


@pytest.mark.parametrize("offset_ms", [0, -40_000, 25_000])
def test_an_order_of_a_frozen_executor_is_outlived_by_the_exchanges_clock(
    operator: Operator, offset_ms: int
) -> None:
    operator.exchange.call("POST", "clock", {"offset_ms": offset_ms})
    signed_ms = operator.grant()
    done = operator.run("kill", "--json")
    now_ms = operator.exchange.state()["now_ms"]
    assert done.code == 0, done
    assert now_ms > signed_ms + WINDOW_MS
    assert done.json["waited_ms"] < 2000
    late = operator.exchange.signed(
        "POST",
        "/fapi/v1/order",
        symbol="BTCUSDT",
        side="BUY",
        type="MARKET",
        quantity="0.010",
        timestamp=signed_ms,
        recvWindow=WINDOW_MS,
    )
    assert late.body["code"] == -1021, late


def test_it_waits_for_the_slowest_of_several(operator: Operator) -> None:
    operator.grant("short", window_ms=200)
    signed_ms = operator.grant("long", window_ms=1500)
    done = operator.run("kill", "--json")
    assert done.code == 0, done
    assert operator.exchange.state()["now_ms"] > signed_ms + 1500
    assert len(done.json["orders"]) == 2


def test_a_cancellation_is_no_order_to_wait_for(operator: Operator) -> None:
    signed_ms = operator.grant(kind="CANCEL", window_ms=30_000)
    done = operator.run("kill", "--json")
    assert done.code == 0, done
    assert operator.exchange.state()["now_ms"] < signed_ms + 30_000


def test_a_grant_nobody_can_read_is_waited_out_like_the_longest(operator: Operator) -> None:
    operator.redis.hset(keys.EXECUTOR_OPEN, "odd", "not json")
    began_ms = operator.exchange.state()["now_ms"]
    done = operator.run("kill", "--json")
    assert done.code == 0, done
    assert operator.exchange.state()["now_ms"] > began_ms + WINDOW_MS


def test_after_a_flush_grants_may_be_lost_so_every_order_is_waited_out(operator: Operator) -> None:
    operator.redis.flushall()
    began_ms = operator.exchange.state()["now_ms"]
    done = operator.run("kill", "--json")
    assert done.code == 0, done
    assert operator.exchange.state()["now_ms"] > began_ms + WINDOW_MS
    assert operator.switched_on


def test_a_flush_while_it_waits_does_not_pass_for_settled(operator: Operator) -> None:
    signed_ms = operator.grant()
    threading.Timer(0.3, operator.redis.flushall).start()
    done = operator.run("kill", "--json")
    assert done.code == 0, done
    assert operator.exchange.state()["now_ms"] > signed_ms + WINDOW_MS


def test_without_the_exchanges_clock_it_waits_by_its_own_and_says_so(operator: Operator) -> None:
    operator.grant()
    began = time.monotonic()
    done = operator.run("kill", "--json", BINANCE_BASE_URL="http://127.0.0.1:1")
    assert done.code == 3, done
    assert time.monotonic() - began > WINDOW_MS / 1000
    assert done.json["waited_ms"] < 2000
    assert done.json["certain"] is False
    assert "clock could not be read" in done.err
    assert operator.file_word == "on"
    assert operator.switched_on


def test_the_measured_offset_lengthens_that_wait(operator: Operator) -> None:
    operator.grant()
    operator.beat("intent_executor", clock_offset_ms=-800)
    done = operator.run("kill", "--json", BINANCE_BASE_URL="http://127.0.0.1:1")
    assert done.code == 3, done
    assert 1800 <= done.json["waited_ms"] < 2000


def test_a_settled_order_needs_no_clock(operator: Operator) -> None:
    operator.grant("a")
    threading.Timer(0.4, lambda: operator.redis.hdel(keys.EXECUTOR_OPEN, "a")).start()
    done = operator.run("kill", "--json", BINANCE_BASE_URL="http://127.0.0.1:1")
    assert done.code == 0, done


def test_a_frozen_exchange_does_not_hold_it_up(operator: Operator) -> None:
    operator.grant()
    os.kill(operator.exchange.pid, signal.SIGSTOP)
    try:
        done = operator.run("kill", "--json")
    finally:
        os.kill(operator.exchange.pid, signal.SIGCONT)
    assert done.code == 3, done
    assert done.json["waited_ms"] < 2000


def test_redis_down_the_file_is_enough(operator: Operator) -> None:
    began_ms = operator.exchange.state()["now_ms"]
    done = operator.run("kill", "--json", REDIS_URL="redis://127.0.0.1:1/0")
    assert done.code == 0, done
    assert operator.file_word == "on"
    assert operator.exchange.state()["now_ms"] > began_ms + WINDOW_MS
    assert "Redis is not reachable" in done.err
    assert not operator.switched_on


def test_a_frozen_redis_is_as_good_as_down(operator: Operator, durable_redis: RedisServer) -> None:
    process = durable_redis._process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    try:
        done = operator.run("kill", "--json", REDIS_URL=durable_redis.url)
    finally:
        process.send_signal(signal.SIGCONT)
    assert done.code == 0, done
    assert operator.file_word == "on"
    assert done.json["waited_ms"] < 2500


def test_a_redis_that_still_reads_its_file_is_as_good_as_down(
    operator: Operator, durable_redis: RedisServer
) -> None:
    client = durable_redis.client()
    with client.pipeline(transaction=False) as writes:
        for number in range(50_000):
            writes.set(f"k{number}", "x")
        writes.execute()
    client.close()
    durable_redis.kill()
    durable_redis.start("--key-load-delay", "200", loaded=False)  # us a key: ten seconds
    began_ms = operator.exchange.state()["now_ms"]
    done = operator.run("kill", "--json", REDIS_URL=durable_redis.url)
    assert done.code == 0, done
    assert operator.file_word == "on"
    assert "LOADING" in done.json["redis"]
    assert "Redis is not reachable" in done.err
    assert operator.exchange.state()["now_ms"] > began_ms + WINDOW_MS
    without = operator.run("kill", REDIS_URL=durable_redis.url, QUANTUM_KILL_FILE=None)
    assert without.code == 2, without


def test_neither_place_is_a_failure_that_names_the_mend(operator: Operator) -> None:
    done = operator.run("kill", REDIS_URL="redis://127.0.0.1:1/0", QUANTUM_KILL_FILE=None)
    assert done.code == 2, done
    assert "NOT SET" in done.out
    assert "systemctl stop quantum-intent-executor" in done.out


def test_a_file_that_cannot_be_written_is_told_and_redis_still_holds(
    operator: Operator, tmp_path: Path
) -> None:
    done = operator.run("kill", QUANTUM_KILL_FILE=str(tmp_path / "nowhere" / "kill_switch"))
    assert done.code == 1, done
    assert operator.switched_on
    assert "nowhere" in done.err


def test_a_redis_that_refuses_leaves_it_to_the_file(operator: Operator) -> None:
    operator.redis.config_set("maxmemory", "1")
    try:
        began_ms = operator.exchange.state()["now_ms"]
        done = operator.run("kill", "--json")
    finally:
        operator.redis.config_set("maxmemory", "0")
    assert done.code == 1, done
    assert operator.file_word == "on"
    assert "OOM" in done.json["redis"]
    assert operator.exchange.state()["now_ms"] > began_ms + WINDOW_MS


def test_a_missing_file_is_made(operator: Operator) -> None:
    operator.kill_file.unlink()
    before = os.umask(0o077)
    try:
        done = operator.run("kill")
    finally:
        os.umask(before)
    assert done.code == 0, done
    assert operator.file_word == "on"
    assert operator.kill_file.stat().st_mode & 0o777 == 0o644


def test_a_switch_of_the_wrong_type_becomes_one(operator: Operator) -> None:
    operator.redis.delete(keys.KILL_SWITCH)
    operator.redis.hset(keys.KILL_SWITCH, "active", "false")
    done = operator.run("kill", "--json")
    assert done.code == 0, done
    assert operator.switched_on


def test_the_file_is_overwritten_in_place(operator: Operator) -> None:
    """Its blocks stay: a full disk has no others."""
    operator.kill_file.write_text("off" + " " * 60 + "\n")
    before = operator.kill_file.stat()
    operator.run("kill")
    after = operator.kill_file.stat()
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size)
    assert operator.file_word == "on"


@pytest.mark.skipif(os.getuid() != 0, reason="mounting a small file system needs root")
def test_on_a_full_disk_the_preallocated_file_still_takes_it(
    operator: Operator, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]).returncode:
        pytest.skip("this machine allows no mount")
    try:
        file = disk / "kill_switch"
        file.write_text("off\n")
        with pytest.raises(OSError, match="No space"):
            (disk / "filler").write_bytes(b"x" * 100_000)
        done = operator.run("kill", QUANTUM_KILL_FILE=str(file))
        assert done.code == 0, done
        assert file.read_text().strip() == "on"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_killing_twice_is_no_error(operator: Operator) -> None:
    assert operator.run("kill").code == 0
    assert operator.run("kill").code == 0
    assert operator.switched_on


def test_a_reason_that_is_no_text_stops_no_kill(operator: Operator) -> None:
    """Typed on a terminal of another character set."""
    done = operator.run("kill", "--reason", "caf\udce9")
    assert done.code == 0, done
    assert operator.switched_on
    assert operator.run("audit").code == 0
