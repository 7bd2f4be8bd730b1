"""Redis, the answering venue, and the process that is measured."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from quantum_exit import keys
from quantum_exit.bus.connection import connect
from quantum_exit.kill_switch import dump_runtime
from quantum_exit.signing import PLAN_FIELDS, Signer

from .cgroup import Cgroup
from .venue import SYMBOLS

OWNER = "exitbrain_v3_5"
WARM_UP = 20
PERMIT_WAIT_S = 8
SIGNER = Signer("55" * 32)
EXECUTOR, BY_HAND, DRAMATIQ = "executor", "by hand", "dramatiq"
MODULES = {
    EXECUTOR: "quantum_exit.executor",
    BY_HAND: "benchmarks.executor.naive",
    DRAMATIQ: "benchmarks.executor.worker",
}


def wait_for(condition: Callable[[], object], what: str, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s} s: {what}")
        time.sleep(0.002)


class Rig:
    """Use as a context manager. `durable`: every write of Redis on disk, as deployed."""

    def __init__(self, *, durable: bool) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="executor-benchmark-"))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._cgroups: list[Cgroup] = []
        self.redis_url = self._start_redis(durable)
        self.redis: redis.Redis = connect(self.redis_url, decode=True)
        self.venue_url = self._start_venue()
        self._number = 0

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
        for cgroup in self._cgroups:
            cgroup.remove()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _start_redis(self, durable: bool) -> str:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        disk = ["--appendonly", "yes", "--appendfsync", "always"] if durable else []
        self._spawn(
            [
                *("redis-server", "--port", str(port), "--bind", "127.0.0.1"),
                *("--save", "", "--dir", str(self._directory), *disk),
            ],
            {},
        )
        url = f"redis://127.0.0.1:{port}/0"
        client = connect(url)
        wait_for(lambda: _answers(client), "redis-server")
        return url

    def _start_venue(self) -> str:
        process = self._spawn(
            [sys.executable, "-m", "benchmarks.executor.venue"],
            {},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout
        return f"http://127.0.0.1:{int(process.stdout.readline())}"

    def _spawn(
        self,
        command: list[str],
        environ: dict[str, str],
        cgroup: Cgroup | None = None,
        **io: Any,
    ) -> Any:
        io = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **io}
        base = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
        if cgroup is not None:  # it starts in the group: a shell joins and becomes it
            command = ["/bin/sh", "-c", 'read -r _; exec "$@"', "sh", *command]
            io["stdin"] = subprocess.PIPE
        process = subprocess.Popen(command, env={**base, **environ}, **io)
        if cgroup is not None:
            cgroup.take_in(process.pid)
            with process.stdin as go:
                go.write(b"\n")
        self._processes.append(process)
        return process

    def venue(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.venue_url}/bench/{path}") as answer:  # noqa: S310 - our own loopback http
            return json.load(answer)

    def floor(self, delay_s: float, seconds: float) -> float:
        """Orders a second of eight clients that do nothing but send."""
        self.venue(f"delay?s={delay_s}")
        process = self._spawn(
            [sys.executable, "-m", "benchmarks.executor.floor", self.venue_url, str(seconds)],
            {},
            stdout=subprocess.PIPE,
        )
        told, _ = process.communicate()
        self.venue("orders")
        return float(told)

    # What is measured

    def start(self, kind: str) -> Measured:
        self.redis.flushall()
        self.be_well()
        environ = {
            "REDIS_URL": self.redis_url,
            "BINANCE_BASE_URL": self.venue_url,
            "BINANCE_TESTNET": "true",
            "BINANCE_API_KEY": "k",
            "BINANCE_API_SECRET": "s",
            "QUANTUM_PUBLIC_KEY_EXITBRAIN_V3_5": SIGNER.public_hex,
            "QUANTUM_LOCK_FILE": str(self._directory / "lock"),
            "MALLOC_ARENA_MAX": "2",  # as the units set it
        }
        cgroup = Cgroup()
        process = self._spawn(
            [sys.executable, "-m", MODULES[kind]],
            environ,
            cgroup,
            stderr=None,  # its log goes nowhere: a file's cache would be charged to its group
        )
        self._cgroups.append(cgroup)
        measured = Measured(self, kind, process, cgroup)
        wait_for(measured.is_ready, f"{kind} ready")
        return measured

    def be_well(self) -> None:
        now = time.time()
        self.redis.set(
            keys.KILL_SWITCH, dump_runtime(active=False, by="", reason="", at="", epoch=now)
        )
        self.observe()

    def observe(self) -> None:
        now = f"{time.time():.6f}"
        for symbol in SYMBOLS:
            fields = {"position_amt": "1000000", "mark_price": "100", "ts_epoch": now}
            self.redis.hset(keys.snapshot(symbol), mapping=fields)

    def plan(self, *, owner: bool) -> dict[str, str]:
        self._number += 1
        fields = {
            "plan_id": f"plan-{self._number}",
            "decision": "EXECUTE",
            "reason": "stop_loss",
            "symbol": SYMBOLS[self._number % len(SYMBOLS)],
            "side": "SELL",
            "type": "MARKET",
            "qty": "0.001",
            "reduceOnly": "true",
            "source": OWNER if owner else "intent_bridge",
            "timestamp": f"{time.time():.6f}",
        }
        if owner:
            fields["sig"] = SIGNER.sign(fields, PLAN_FIELDS)
        return fields

    def permit(self, pipe: Any, plan: dict[str, str]) -> None:
        document = {"allow": True, "symbol": plan["symbol"], "safe_qty": 1}
        pipe.set(keys.permit(plan["plan_id"]), json.dumps(document), ex=60)

    def preload(self, kind: str, count: int, *, owner: bool) -> None:
        send = self.sender(kind)
        pipe = self.redis.pipeline(transaction=False)
        for number in range(count):
            plan = self.plan(owner=owner)
            if owner:
                self.permit(pipe, plan)
            send(pipe, plan)
            if number % 1000 == 999:
                pipe.execute()
        pipe.execute()

    def sender(self, kind: str) -> Callable[[Any, dict[str, str]], object]:
        """How a plan gets to what is measured."""
        if kind == DRAMATIQ:
            from .worker import sender  # it may be absent

            queue = sender(self.redis_url)
            return lambda _, plan: queue(plan)
        return lambda client, plan: client.xadd(keys.APPLY_PLAN, plan)

    def results(self) -> int:
        """Ever written; the executor trims what is old."""
        try:
            stream: Any = self.redis.xinfo_stream(keys.APPLY_RESULT)
        except redis.ResponseError:
            return 0  # none yet
        return int(stream["entries-added"])


class Measured:
    """The executor, or what stands beside it."""

    def __init__(
        self, rig: Rig, kind: str, process: subprocess.Popen[bytes], cgroup: Cgroup
    ) -> None:
        self.cgroup = cgroup
        self._rig = rig
        self._kind = kind
        self.process = process

    def is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"{self._kind} ended with {self.process.returncode}")
        if self._kind != EXECUTOR:
            return self._rig.redis.get("benchmark:ready") == str(self.process.pid)
        beat: Any = self._rig.redis.hgetall(keys.heartbeat("intent_executor"))
        return beat.get("ready") == "true" and beat.get("pid") == str(self.process.pid)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.cgroup.remove()

    def latencies_ms(self, count: int) -> list[float]:
        """Plan into the stream -> first byte of its order at the venue, one plan at a time."""
        self._rig.venue("delay?s=0")
        self._rig.venue("orders")
        send = self._rig.sender(self._kind)
        took: list[float] = []
        for number in range(count + WARM_UP):
            if number % 50 == 0:  # the positions must stay fresh
                self._rig.observe()
            plan = self._rig.plan(owner=True)
            self._rig.permit(self._rig.redis, plan)
            before = self._rig.results()
            began = time.monotonic()
            send(self._rig.redis, plan)
            wait_for(lambda b=before: self._rig.results() > b, "a result")
            took.append(began)
        arrivals = [at for _, at in self._rig.venue("orders")]
        assert len(arrivals) == len(took)
        return [(at - began) * 1000 for began, at in zip(took, arrivals, strict=True)][WARM_UP:]

    def latencies_beside_waiting_ms(self, count: int, waiting: int) -> list[float]:
        """The same while `waiting` plans wait for permits that do not come (8 s long)."""
        before = self._rig.results()
        began = time.monotonic()
        for _ in range(waiting):
            plan: Any = self._rig.plan(owner=True)
            self._rig.redis.xadd(keys.APPLY_PLAN, plan)
        found = self.latencies_ms(count)
        if time.monotonic() - began > PERMIT_WAIT_S:
            raise TimeoutError("the waiting plans did not wait for long enough")
        wait_for(lambda: self._rig.results() == before + waiting + count + WARM_UP, "their denial")
        return found

    def cpu_s(self) -> float:
        """Processor time used so far, of its own and of the kernel for it."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def per_second(self, count: int, *, owner: bool, delay_s: float = 0.0) -> tuple[float, float]:
        """Results a second, and processor time a plan in µs, for plans that all wait in the
        stream already."""
        self._rig.venue(f"delay?s={delay_s}")
        self.process.send_signal(signal.SIGSTOP)
        self._rig.preload(self._kind, count, owner=owner)
        self._rig.observe()
        wanted = self._rig.results() + count
        began, used_s = time.monotonic(), self.cpu_s()
        self.process.send_signal(signal.SIGCONT)
        while self._rig.results() < wanted:
            time.sleep(0.02)
            if time.monotonic() - began > 120:
                raise TimeoutError(f"{wanted - self._rig.results()} results are missing")
        took_s = time.monotonic() - began
        self._rig.venue("orders")
        return count / took_s, (self.cpu_s() - used_s) / count * 1e6

    def memory_mib(self) -> dict[str, float]:
        """Resident (RSS) and proportional (PSS) size, and what a cgroup of its own is charged:
        libraries that somebody else has read already are not in the last."""
        wanted = {"Rss": "rss", "Pss": "pss"}
        sizes = {"cgroup": self.cgroup.usage_mib() or float("nan")}
        for line in Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in wanted:
                sizes[wanted[name]] = int(rest.split()[0]) / 1024
        return sizes


def quantile(values: list[float], share: float) -> float:
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 1000) - 1]


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
