"""Random schedules of kill against executors that are slow, frozen or dead at any step.

The executors here are threads that keep the same order of steps as the real one (timestamp,
file, atomic grant, send, settle) and may be held up between any two of them. The exchange
keeps the rule of timestamps and recvWindow. Whatever happens: no order is accepted after a
kill that returned with certainty. Two mutants show that this test can fail.
"""

from __future__ import annotations

import http.server
import itertools
import json
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from quantum_exit import keys, kill_switch
from quantum_exit.exitctl import kill, kill_file
from quantum_exit.exitctl.control import Act

from ..conftest import wait_for

WINDOW_MS = 80
GRANT = """
if string.find(redis.call('GET', KEYS[1]) or '', '"active":false', 1, true) == nil then
  return 0
end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
return 1
"""


class Exchange:
    """A clock of its own, and the rule by which an order is still accepted."""

    def __init__(self, offset_ms: int) -> None:
        self._offset_ms = offset_ms
        self._lock = threading.Lock()
        self._killed = False
        self.slow_s = 0.0
        self.late: list[str] = []
        self.accepted = 0

    def now_ms(self) -> int:
        return int(time.monotonic() * 1000) + 1_700_000_000_000 + self._offset_ms

    def receive(self, order: str, timestamp_ms: int) -> None:
        with self._lock:
            now_ms = self.now_ms()
            if timestamp_ms >= now_ms + 1000 or now_ms - timestamp_ms > WINDOW_MS:
                return
            self.accepted += 1
            if self._killed:
                self.late.append(order)

    def kill_returned(self) -> None:
        with self._lock:
            self._killed = True

    def begin(self) -> None:
        with self._lock:
            self._killed = False


class Executor(threading.Thread):
    """Sends orders until the switch stops it. `mutant`: signs after it was held up."""

    numbers = itertools.count()

    def __init__(self, world: World, seed: int, *, mutant: bool) -> None:
        super().__init__(daemon=True)
        self._world, self._mutant = world, mutant
        self._chance = random.Random(seed)
        self._redis = redis.Redis.from_url(world.url)

    def _held_up(self) -> None:
        """Mostly hardly, sometimes for longer than an order lives."""
        most_s = self._chance.choice([0.0, 0.002, 0.01, WINDOW_MS * 2 / 1000])
        time.sleep(self._chance.uniform(0, most_s))

    def run(self) -> None:
        while not self._world.over.is_set():
            order = f"order-{next(self.numbers)}"
            signed_ms = self._world.exchange.now_ms() - self._chance.randint(0, 3)
            self._held_up()
            if kill_switch.read_file(str(self._world.file)).active:
                return
            self._held_up()
            grant = {"plan_id": order, "timestamp_ms": signed_ms, "recv_window_ms": WINDOW_MS}
            if not self._world.grant(self._redis, order, json.dumps(grant)):
                return
            self._held_up()
            if self._mutant:
                signed_ms = self._world.exchange.now_ms()
            self._world.exchange.receive(order, signed_ms)
            self._held_up()
            if self._chance.random() < 0.1:
                return  # died with its grant open
            self._redis.hdel(keys.EXECUTOR_OPEN, order)


class World:
    def __init__(self, url: str, directory: Path) -> None:
        self.url = url
        self.file = directory / "kill_switch"
        self.over = threading.Event()
        self.exchange = Exchange(offset_ms=-123_456)
        self.redis = redis.Redis.from_url(url, decode_responses=True)
        self._grant = self.redis.register_script(GRANT)

    def grant(self, client: redis.Redis, order: str, text: str) -> bool:
        made = self._grant(
            keys=[keys.KILL_SWITCH, keys.EXECUTOR_OPEN], args=[order, text], client=client
        )
        return bool(made)

    def release(self) -> None:
        self.over.clear()
        self.redis.delete(keys.EXECUTOR_OPEN)
        self.exchange.begin()
        off = kill_switch.dump_runtime(active=False, by="", reason="", at="", epoch=0)
        self.redis.set(keys.KILL_SWITCH, off)
        kill_file.write(str(self.file), active=False)

    def one_schedule(self, base_url: str, seed: int, *, mutant: bool) -> int:
        """Kill among executors at a random moment. Returns its exit status."""
        chance = random.Random(seed)
        self.release()
        self.exchange.slow_s = chance.choice([0.0, 0.0, 0.03])
        executors = [Executor(self, seed * 10 + n, mutant=mutant) for n in range(4)]
        for executor in executors:
            executor.start()
        time.sleep(chance.uniform(0, 0.05))
        if chance.random() < 0.1:
            self.redis.flushall()  # the switch and the grants are gone
        environ = {
            "REDIS_URL": "redis://127.0.0.1:1/0" if chance.random() < 0.15 else self.url,
            "QUANTUM_KILL_FILE": str(self.file),
            "QUANTUM_RECV_WINDOW_MS": str(WINDOW_MS),
        }
        where = "http://127.0.0.1:1" if chance.random() < 0.1 else base_url
        report = kill.engage(environ, Act("test", "schedule", time.time()), where)
        self.exchange.kill_returned()
        self.over.set()
        for executor in executors:
            executor.join(10)
            assert not executor.is_alive()
        return report.exit_code


@pytest.fixture
def world(redis_url: str, tmp_path: Path) -> World:
    made = World(redis_url, tmp_path)
    wait_for(lambda: made.redis.info("server")["uptime_in_seconds"] > 1, "Redis is up for long")
    return made


@pytest.fixture
def base_url(world: World) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(world.exchange.slow_s)
            body = json.dumps({"serverTime": world.exchange.now_ms()}).encode()
            time.sleep(world.exchange.slow_s)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def campaign(world: World, base_url: str, schedules: int, *, mutant: bool = False) -> set[int]:
    """Until an order is accepted too late, or all are done."""
    codes = set()
    for seed in range(schedules):
        codes.add(world.one_schedule(base_url, seed, mutant=mutant))
        if world.exchange.late:
            break
    return codes


def test_no_order_is_accepted_after_a_kill_returned(world: World, base_url: str) -> None:
    codes = campaign(world, base_url, 80)
    assert world.exchange.late == []
    assert world.exchange.accepted > 100
    assert codes == {0, 3}  # 3 where the exchange's clock could not be read


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_thousands_of_schedules(world: World, base_url: str) -> None:
    campaign(world, base_url, 5000)
    assert world.exchange.late == []


def test_it_catches_an_executor_that_signs_after_thawing(world: World, base_url: str) -> None:
    campaign(world, base_url, 200, mutant=True)
    assert world.exchange.late


def test_it_catches_a_kill_that_does_not_wait(
    world: World, base_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kill, "_wait", lambda report, *_: setattr(report, "certain", True))
    campaign(world, base_url, 200)
    assert world.exchange.late
