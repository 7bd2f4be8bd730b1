"""The whole stack on loopback: a real Redis, the paper exchange, and our four services as
processes of their own, with the environment they would have on a host."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import redis

from paper_exchange.testing import PaperExchange
from quantum_exit import keys
from quantum_exit.bus.connection import connect
from quantum_exit.kill_switch import dump_runtime
from quantum_exit.signing import Signer, env_suffix, generate_seed

from .conftest import wait_for

OWNER = "exitbrain_v3_5"
MODULES = {
    "exitbrain": "quantum_exit.brain",
    "apply_layer": "quantum_exit.apply",
    "position_state": "quantum_exit.permits",
    "intent_executor": "quantum_exit.executor",
}
LIVE = {
    "EXIT_BRAIN_V35_ENABLED": "true",
    "EXIT_MODE": "EXIT_BRAIN_V3",
    "EXIT_EXECUTOR_MODE": "LIVE",
    "EXIT_BRAIN_V3_LIVE_ROLLOUT": "ENABLED",
    "EXIT_EXECUTOR_KILL_SWITCH": "false",
    "EXIT_BRAIN_CYCLE_S": "0.2",
    # One result of the owner an exit, unless a test is about the stops that rest.
    "EXIT_BRAIN_EXCHANGE_STOP": "false",
}
HARVEST = {"default": {"stop_loss_pct": "2"}}


class Stack:
    """Nothing runs until `start`. `directory` holds the kill file, locks and logs."""

    def __init__(self, redis_url: str, exchange: PaperExchange, directory: Path) -> None:
        self.exchange = exchange
        self.redis: redis.Redis = connect(redis_url, decode=True)
        self.kill_file = directory / "kill_switch"
        self.kill_file.write_text("off\n")
        self._directory = directory
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.seed = generate_seed()
        self._common = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PYTHONUNBUFFERED": "1",
            "REDIS_URL": redis_url,
            "BINANCE_TESTNET": "true",
            "BINANCE_BASE_URL": exchange.base_url,
            "BINANCE_API_KEY": exchange.read_api_key,
            "BINANCE_API_SECRET": exchange.read_secret_key,
            "QUANTUM_KILL_FILE": str(self.kill_file),
            f"QUANTUM_PUBLIC_KEY_{env_suffix(OWNER)}": Signer(self.seed).public_hex,
        }

    @property
    def operator(self) -> dict[str, str]:
        """The environment of exitctl."""
        return dict(self._common)

    def environ_of(self, service: str) -> dict[str, str]:
        own: dict[str, str] = {}
        if service == "exitbrain":
            own = {**LIVE, "QUANTUM_SIGNING_KEY": self.seed}
        elif service == "intent_executor":
            own = {
                "BINANCE_API_KEY": self.exchange.api_key,
                "BINANCE_API_SECRET": self.exchange.secret_key,
                "QUANTUM_LOCK_FILE": str(self._directory / "leader.lock"),
            }
        return {**self._common, **own}

    def switch(self, *, active: bool) -> None:
        text = dump_runtime(active=active, by="test", reason="", at="", epoch=time.time())
        self.redis.set(keys.KILL_SWITCH, text)

    def publish_policy(self, symbols: Sequence[str], lasts_s: float = 3600) -> None:
        self.redis.hset(
            keys.POLICY_CURRENT,
            mapping={
                "universe_symbols": json.dumps(list(symbols)),
                "leverage_by_symbol": json.dumps(dict.fromkeys(symbols, 5)),
                "harvest_params": json.dumps(HARVEST),
                "kill_params": "{}",
                "valid_until_epoch": f"{time.time() + lasts_s:.3f}",
                "policy_version": "test",
                "policy_hash": "0" * 64,
            },
        )

    def start(self, *services: str, environ: Mapping[str, str] | None = None) -> None:
        """All four when none is named; waits until each says that it is ready."""
        for service in services or tuple(MODULES):
            log = (self._directory / f"{service}.log").open("ab")
            self._processes[service] = subprocess.Popen(
                [sys.executable, "-m", MODULES[service]],
                env={**self.environ_of(service), **(environ or {})},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            log.close()
        for service in services or tuple(MODULES):
            wait_for(lambda s=service: self.is_ready(s), f"{service} ready", 15)

    def beat(self, service: str) -> dict[str, str]:
        beat: Any = self.redis.hgetall(keys.heartbeat(service))
        return dict(beat)

    def is_ready(self, service: str) -> bool:
        process = self._processes[service]
        assert process.poll() is None, f"{service} ended: {self.log(service)[-2000:]}"
        beat = self.beat(service)
        return beat.get("ready") == "true" and beat.get("pid") == str(process.pid)

    def log(self, service: str) -> str:
        return (self._directory / f"{service}.log").read_text(errors="replace")

    def pid(self, service: str) -> int:
        return self._processes[service].pid

    def signal(self, service: str, number: signal.Signals) -> None:
        self._processes[service].send_signal(number)

    def kill(self, service: str) -> None:
        process = self._processes.pop(service)
        process.kill()
        process.wait()

    def stop(self) -> None:
        for service in list(self._processes):
            self.kill(service)
        self.redis.close()

    def run(self, module: str, *arguments: str, timeout_s: float = 60) -> Done:
        return run_module(module, arguments, self.operator, timeout_s)

    def exitctl(self, *arguments: str) -> Done:
        return self.run("quantum_exit.exitctl", *arguments)

    def exitctl_as_root(self, *arguments: str) -> Done:
        """Root can read the owner's key, here as on a host."""
        environ = {**self.operator, "QUANTUM_SIGNING_KEY": self.seed}
        return run_module("quantum_exit.exitctl", arguments, environ)


class Done:
    """A command that has ended."""

    def __init__(self, code: int, out: str, err: str, took_s: float) -> None:
        self.code, self.out, self.err, self.took_s = code, out, err, took_s

    @property
    def json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.out)
        return document

    def __repr__(self) -> str:
        return f"exit {self.code} in {self.took_s:.2f} s\n{self.out}\n{self.err}"


def run_module(
    module: str, arguments: Sequence[str], environ: Mapping[str, str], timeout_s: float = 60
) -> Done:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=dict(environ),
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    return Done(done.returncode, done.stdout, done.stderr, time.monotonic() - began)
