"""An operator's shell on a host: exitctl as a process, and what the host would have set up."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import redis

from paper_exchange.testing import PaperExchange
from quantum_exit import keys
from quantum_exit.kill_switch import dump_runtime

from ..conftest import wait_for
from ..stack import Done, run_module

WINDOW_MS = 1000


class Operator:
    def __init__(
        self, redis_url: str, client: redis.Redis, exchange: PaperExchange, directory: Path
    ) -> None:
        self.redis = client
        self.exchange = exchange
        self.kill_file = directory / "kill_switch"
        self.kill_file.write_text("off\n")
        self.environ = {
            "PYTHONPATH": ":".join(sys.path),
            "REDIS_URL": redis_url,
            "BINANCE_TESTNET": "true",
            "BINANCE_BASE_URL": exchange.base_url,
            "BINANCE_API_KEY": exchange.read_api_key,
            "BINANCE_API_SECRET": exchange.read_secret_key,
            "QUANTUM_KILL_FILE": str(self.kill_file),
        }
        self.switch(active=False)
        wait_for(lambda: client.info("server")["uptime_in_seconds"] > 1, "Redis is up for long")

    def switch(self, *, active: bool) -> None:
        text = dump_runtime(active=active, by="test", reason="", at="", epoch=time.time())
        self.redis.set(keys.KILL_SWITCH, text)

    @property
    def switched_on(self) -> bool:
        return bool(json.loads(self.redis.get(keys.KILL_SWITCH) or "{}").get("active"))

    @property
    def file_word(self) -> str:
        return self.kill_file.read_text().strip()

    def grant(self, field: str = "one", *, kind: str = "MARKET", window_ms: int = WINDOW_MS) -> int:
        """An order on its way, signed now by the exchange's clock, which is returned."""
        signed_ms = int(self.exchange.state()["now_ms"])
        self.redis.hset(
            keys.EXECUTOR_OPEN,
            field,
            json.dumps(
                {
                    "plan_id": f"plan-{field}",
                    "source": "exitbrain_v3_5",
                    "symbol": "BTCUSDT",
                    "side": "SELL",
                    "type": kind,
                    "qty": "0.010",
                    "client_order_id": f"qx-{field}",
                    "attempt": 1,
                    "timestamp_ms": signed_ms,
                    "recv_window_ms": window_ms,
                    "state": "granted",
                }
            ),
        )
        return signed_ms

    def beat(self, service: str, **fields: object) -> None:
        """A heartbeat of a service that is well, but for what is given."""
        now = time.time()
        usual = {"ready": "true", "status": "ready", "ts_epoch": now, "started_epoch": now - 60}
        beat = {**usual, "pid": 1, **fields}
        self.redis.hset(keys.heartbeat(service), mapping={k: str(v) for k, v in beat.items()})

    def positions_read(self, age_s: float = 0.0) -> None:
        state = {"ts_epoch": f"{time.time() - age_s:.6f}", "symbols": "[]"}
        self.redis.hset(keys.SNAPSHOT_STATE, mapping=state)

    def run(self, *arguments: str, **environ: str | None) -> Done:
        """`exitctl …`; a variable given as None is not set."""
        merged = {**self.environ, **environ}
        given = {name: value for name, value in merged.items() if value is not None}
        return run_module("quantum_exit.exitctl", arguments, given)
