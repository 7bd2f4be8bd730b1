"""The switch holds: in every trouble, and through everything that comes after."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

from hosts import wait_until
from stage import EXECUTOR, KILL_FILE, SERVICES, Stage

WAY_OF_AN_ORDER_MS = 900


def have_orders_on_their_way(stage: Stage) -> None:
    """From now on some are always between here and the exchange, as long as recvWindow lets."""
    stage.exchange.add_fault(
        method="POST", path="/fapi/v1/order", delay_before_ms=WAY_OF_AN_ORDER_MS
    )
    wait_until(
        "an order on its way",
        lambda: any(order.outcome == "pending" for order in stage.exchange.orders()),
    )


def test_on_under_load_with_orders_on_their_way(trading: Stage) -> None:
    have_orders_on_their_way(trading)
    trading.assert_stopped(trading.engage())


def test_the_owner_can_not_exit_either_while_it_is_on(trading: Stage) -> None:
    back_ms = trading.engage()
    held = trading.exchange.position("AVAXUSDT")
    price = trading.exchange.price("AVAXUSDT")
    # Below the brain's stop (2 %), above the one that rests on the exchange and outlives us all.
    trading.exchange.set_price("AVAXUSDT", round(price * Decimal("0.978"), 2))
    try:
        send = "exitctl plan send --symbol AVAXUSDT --side SELL --qty 1 --reduce-only --json"
        said = trading.run(send, check=False)
        assert "kill_switch_active" in said.text
        trading.assert_stopped(back_ms)
        assert trading.exchange.position("AVAXUSDT") == held
    finally:
        trading.exchange.set_price("AVAXUSDT", price)


def test_on_with_redis_down(trading: Stage) -> None:
    trading.run("systemctl stop redis-server.service")
    try:
        done = trading.switch("on")
        back_ms = trading.exchange.now_ms()
        assert done.code == 0, done.text
        assert "Redis is not reachable" in done.text
    finally:
        trading.start_redis()
    trading.assert_stopped(back_ms)


@contextmanager
def full(stage: Stage, *paths: str) -> Iterator[None]:
    """Not a byte is free there."""
    filler = " ".join(f"{path}/filler" for path in paths)
    fill = f"for filler in {filler}; do dd if=/dev/zero of=$filler bs=4k status=none; done"
    stage.run(fill, check=False)
    try:
        for path in paths:
            refused = stage.run(f"dd if=/dev/zero of={path}/more bs=4k count=1", check=False)
            assert "No space left" in refused.text
        yield
    finally:
        more = " ".join(f"{path}/more" for path in paths)
        stage.run(f"rm -f {filler} {more}")


def test_on_with_the_disk_full(trading: Stage) -> None:
    trading.run(
        "for path in /tmp /var/tmp; do mount -t tmpfs -o size=64k,mode=1777 tmpfs $path;"
        " dd if=/dev/zero of=$path/filler bs=4k status=none; done",
        check=False,
    )
    try:
        with full(trading, "/var/lib/quantum", "/var/lib/redis"):
            assert "No space left" in trading.run("mktemp && date >$(mktemp)", check=False).text
            done = trading.switch("on")
            back_ms = trading.exchange.now_ms()
            # Redis ends on a full disk and is started again and again: gone, or refusing (told as
            # "one of its places"). The file took it, and the exchange's clock confirmed it.
            assert f"file: {KILL_FILE}: on" in done.text
            assert "NOT CONFIRMED" not in done.text
            assert trading.run(f"cat {KILL_FILE}").text.strip() == "on"
            assert trading.accepted_since(back_ms) == []
    finally:
        trading.run("umount /tmp /var/tmp")
        trading.start_redis()
    trading.assert_stopped(back_ms)


def test_on_with_an_executor_that_hangs(trading: Stage) -> None:
    have_orders_on_their_way(trading)
    pid = trading.main_pid(EXECUTOR)
    trading.run(f"kill -STOP {pid}")
    try:
        back_ms = trading.engage()
    finally:
        trading.run(f"kill -CONT {pid}")
    assert trading.main_pid(EXECUTOR) == pid, "it was restarted instead of thawed"
    trading.assert_stopped(back_ms)


def test_on_without_a_release_that_works(trading: Stage) -> None:
    trading.run("mv /usr/local/bin/exitctl /run/exitctl")
    try:
        done = trading.switch("on")
        back_ms = trading.exchange.now_ms()
        assert done.code == 2, done.text
        assert f"ON by a plain write to {KILL_FILE}" in done.text
        assert "NOT CONFIRMED" in done.text
    finally:
        trading.run("mv /run/exitctl /usr/local/bin/exitctl")
    trading.assert_stopped(back_ms + 2000)


def test_it_survives_restarts_an_empty_redis_and_a_redeploy(trading: Stage) -> None:
    back_ms = trading.engage()
    trading.run(f"systemctl restart {' '.join(SERVICES)}")
    trading.start_redis()
    trading.assert_stopped(back_ms)

    trading.run("systemctl stop redis-server.service && rm -rf /var/lib/redis/*")
    trading.start_redis()
    trading.assert_stopped(back_ms)

    # Neither writes the missing place as off, nor the other one.
    deployed = trading.playbook("site.yml")
    assert deployed.code == 0, deployed.text[-3000:]
    assert trading.run(f"cat {KILL_FILE}").text.strip() == "on"
    assert not trading.bus().exists("quantum:kill_switch")
    trading.assert_stopped(back_ms)

    # Missing in Redis is on by itself: a file that somebody wrote by hand releases nothing.
    trading.run(f"printf 'off\\n' >{KILL_FILE}")
    trading.assert_stopped(back_ms)


def test_budget(loaded: Stage) -> None:
    """From the command to the prompt, orders flowing; the best of three is the design's."""
    took_s = []
    for _ in range(3):
        loaded.assert_trading()
        began = time.monotonic()
        loaded.engage()
        took_s.append(time.monotonic() - began)
        assert loaded.switch("off").code == 0
    print(f"kill switch on, by playbook: {', '.join(f'{each:.2f}' for each in took_s)} s")
    assert min(took_s) < 3
