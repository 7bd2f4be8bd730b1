"""One host, two exchanges, and an operator who moves the host from one to the other."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import redis
from hosts import Ended, play, play_and_kill, run_on, wait_until
from paper_exchange.testing import ControlClient
from redis.backoff import NoBackoff
from redis.retry import Retry

SCENARIO = Path(__file__).resolve().parents[1]
INVENTORIES = {"testnet": SCENARIO / "inventory", "mainnet": SCENARIO / "mainnet"}
HOST = "moves"
SYMBOL = "AVAXUSDT"
FAR = "quantum-far-exchange"
UNITS = {
    "quantum-exitbrain-v35": "exitbrain",
    "quantum-apply-layer": "apply_layer",
    "quantum-position-state-brain": "position_state",
    "quantum-intent-executor": "intent_executor",
}
ONESHOTS = {
    "exitbrain-proof": "proof",
    "quantum-exit-owner-watch": "exit-owner-watch",
    "quantum-policy-refresh": "policy-refresh",
}
NAMES = ("api_key", "api_secret", "read_api_key", "read_api_secret")
SOURCE_NAMES = ("API_KEY", "SECRET_KEY", "READ_API_KEY", "READ_SECRET_KEY")


def new_keys() -> dict[str, str]:
    return {name: f"canary{secrets.token_hex(24)}" for name in NAMES}


class Stage:
    """`keys`: those of the main network. `files`: where the operator keeps his vault."""

    def __init__(self, ports: Mapping[str, int], files: Path) -> None:
        self._ports = ports
        self._files = files
        self.keys = self._present_keys() or new_keys()
        token = self.variables("paper-exchange.env")["PAPER_EXCHANGE_CONTROL_TOKEN"]
        self.exchange = {
            "testnet": ControlClient(f"http://127.0.0.1:{ports['testnet']}", token),
            "mainnet": ControlClient(f"http://127.0.0.1:{ports['mainnet']}"),
        }

    # the host

    def run(self, command: str, *, check: bool = True) -> Ended:
        return run_on(HOST, command, check=check)

    def variables(self, file: str) -> dict[str, str]:
        lines = self.run(f"cat /etc/quantum/{file}").text.splitlines()
        return {
            name: value.strip('"')
            for name, _, value in (line.partition("=") for line in lines if line[:1] != "#")
        }

    def _present_keys(self) -> dict[str, str]:
        """Of a host that these tests were run on before."""
        if self.run("test -e /etc/quantum/mainnet.env", check=False).code:
            return {}
        found = self.variables("mainnet.env")
        values = [found[f"BINANCE_MAINNET_{name}"] for name in SOURCE_NAMES]
        return dict(zip(NAMES, values, strict=True))

    def fingerprints(self) -> str:
        """Of all that a deployment or a move may change, and of what runs."""
        drop_ins = "/etc/systemd/system/*.d/50-environment.conf"
        return self.run(
            f"sha256sum /etc/quantum/* /var/lib/quantum/* {drop_ins} 2>/dev/null; "
            "systemctl show --property=MainPID 'quantum-*.service'"
        ).text

    def process(self, unit: str) -> dict[str, str]:
        """The environment that the unit's process was started with."""
        pid = f"$(systemctl show --property=MainPID --value {unit}.service)"
        words = self.run(f"cat /proc/{pid}/environ").text.split("\0")
        return dict(word.split("=", 1) for word in words if "=" in word)

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.run("exitctl status --json").text)
        return document

    def assert_ready(self, mode: str) -> None:
        wait_until("all services are ready", lambda: self._is_ready(mode), 60, 0.5)

    def _is_ready(self, mode: str) -> bool:
        said = self.run("exitctl status --json", check=False)
        seen = json.loads(said.text) if said.code == 0 else {"services": {}}
        services = seen["services"].values()
        ready = bool(services) and all(each["ready"] and each["fresh"] for each in services)
        return ready and seen["mode"]["state"] == mode

    def prove(self, expect: str) -> None:
        done = self.run(f"exitctl proof exitbrain --expect {expect}", check=False)
        assert done.code == 0, done.text

    def bus(self, user: str = "operator") -> redis.Redis:
        return redis.Redis(
            port=self._ports["redis"],
            username=user,
            password=self.variables("redis.env")[f"REDIS_PASSWORD_{user.upper()}"],
            decode_responses=True,
            socket_timeout=5,
            retry=Retry(NoBackoff(), 0),
        )

    def open_position(self) -> str:
        """One AVAXUSDT by an ordinary producer. Returns the result's error."""
        bus, plan_id = self.bus("intent_bridge"), f"env-{secrets.token_hex(8)}"
        words = {"plan_id": plan_id, "decision": "EXECUTE", "symbol": SYMBOL, "side": "BUY"}
        words |= {"type": "MARKET", "qty": "1", "reduceOnly": "false", "action": "OPEN"}
        words |= {"source": "intent_bridge", "signature": "intent_bridge"}
        bus.xadd("quantum:stream:apply.plan", {**words, "timestamp": f"{time.time():.3f}"})
        found: list[dict[str, str]] = []

        def is_answered() -> bool:
            rows = self.bus().xrevrange("quantum:stream:apply.result", count=50)
            found.extend(fields for _, fields in rows if fields["plan_id"] == plan_id)
            return bool(found)

        wait_until("the plan has its result", is_answered)
        return found[0]["error"]

    # the operator

    def _inventory(
        self, environment: str, keys: Mapping[str, str] | None = None
    ) -> tuple[Path, tuple[str, ...]]:
        vault = self._files / "vault.yml"
        given = {f"vault_mainnet_{name}": value for name, value in (keys or self.keys).items()}
        vault.write_text(json.dumps(given), encoding="utf-8")
        from_vault = ("-e", f"@{vault}") if environment == "mainnet" else ()
        return INVENTORIES[environment] / "hosts.yml", from_vault

    def deploy_and_die(self, environment: str, *arguments: str) -> None:
        """site.yml, whose operator is killed once the units are to start elsewhere."""
        drop_in = "/etc/systemd/system/quantum-intent-executor.service.d/50-environment.conf"
        inventory, from_vault = self._inventory(environment)
        play_and_kill(
            inventory, "site.yml", *from_vault, *arguments,
            what="the drop-ins are turned",
            when=lambda: f"-{environment}.env" in self.run(f"cat {drop_in}").text,
        )  # fmt: skip

    def deploy(
        self, environment: str, *arguments: str, keys: Mapping[str, str] | None = None
    ) -> Ended:
        """site.yml with the inventory of this environment and, for the main network, these keys."""
        inventory, from_vault = self._inventory(environment, keys)
        done = play(inventory, "site.yml", *from_vault, *arguments)
        # Long lines are folded: words are looked for, wherever their line ends.
        text = " ".join(done.text.split())
        for secret in (*self.keys.values(), *(keys or {}).values()):
            assert secret not in text
        return replace(done, text=text)
