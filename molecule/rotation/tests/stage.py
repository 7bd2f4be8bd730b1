"""A host that trades, its exchange, and an operator who rotates its secrets."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from hosts import ROOT, Ended, run_on, wait_until
from paper_exchange.testing import ControlClient
from redis.backoff import NoBackoff
from redis.retry import Retry

INVENTORY = Path(__file__).resolve().parents[1] / "inventory" / "hosts.yml"
HOST = "rotate"
PROGRAM = "/opt/quantum/current/bin/launch quantum_exit.rotation"
JOURNAL = "/etc/quantum/.rotation/journal.json"
NAMES = ("API_KEY", "SECRET_KEY", "READ_API_KEY", "READ_SECRET_KEY")
ASKED = ("api_key", "api_secret", "read_api_key", "read_api_secret")


@dataclass(frozen=True)
class NewKeys:
    """Both pairs of a host, in the order of NAMES."""

    values: tuple[str, str, str, str]

    @property
    def api_key(self) -> str:
        return self.values[0]

    def as_env(self) -> str:
        return "".join(
            f"BINANCE_TESTNET_{name}={value}\n"
            for name, value in zip(NAMES, self.values, strict=True)
        )

    def as_given(self) -> dict[str, str]:
        return dict(zip(ASKED, self.values, strict=True))


def new_keys() -> NewKeys:
    """Nobody knows them but the test: found anywhere else, somebody told."""
    marks = ("canaryTK", "canaryTS", "canaryRK", "canaryRS")
    trade, trade_secret, read, read_secret = (mark + secrets.token_hex(20) for mark in marks)
    return NewKeys((trade, trade_secret, read, read_secret))


class Stage:
    """`files`: a directory of the control machine, where everything Ansible writes ends up."""

    def __init__(self, redis_port: int, exchange_port: int, files: Path) -> None:
        self._redis_port = redis_port
        self.files = files
        token = self.variables("paper-exchange.env")["PAPER_EXCHANGE_CONTROL_TOKEN"]
        self.exchange = ControlClient(f"http://127.0.0.1:{exchange_port}", token)

    # the host

    def run(self, command: str, *, stdin: str = "", check: bool = True) -> Ended:
        return run_on(HOST, command, stdin=stdin, check=check)

    def variables(self, file: str) -> dict[str, str]:
        lines = self.run(f"cat /etc/quantum/{file}").text.splitlines()
        return {
            name: value.strip('"')
            for name, _, value in (line.partition("=") for line in lines if line[:1] != "#")
        }

    def fingerprints(self) -> str:
        """Of all that a rotation may change."""
        return self.run("sha256sum /etc/quantum/*.env /etc/redis/quantum.acl").text

    def main_pids(self) -> str:
        return self.run("systemctl show --property=MainPID 'quantum-*.service'").text

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.run("exitctl status --json").text)
        return document

    def assert_fit(self) -> None:
        """The proof passes. It is not asked often: it asks the exchange for much."""
        wait_until("all services are ready", self._are_ready, timeout_s=60, every_s=0.5)
        wait_until("the proof passes", self._is_proven, timeout_s=30, every_s=3)

    def _are_ready(self) -> bool:
        said = self.run("exitctl status --json", check=False)
        services = json.loads(said.text)["services"] if said.code == 0 else {}
        return bool(services) and all(service["ready"] for service in services.values())

    def _is_proven(self) -> bool:
        return self.run("exitctl proof exitbrain --json", check=False).code == 0

    def uses(self, keys: NewKeys) -> bool:
        """Whether source of truth, env files and running processes hold this trading key."""
        source = self.variables("testnet.env")["BINANCE_TESTNET_API_KEY"]
        derived = self.variables("intent-executor.env")["BINANCE_API_KEY"]
        pid = "$(systemctl show --property=MainPID --value quantum-intent-executor.service)"
        running = self.run(f"tr '\\0' '\\n' </proc/{pid}/environ").text
        held = {source, derived, f"{'BINANCE_API_KEY=' + keys.api_key in running}"}
        return held == {keys.api_key, "True"}

    def bus(self, user: str = "operator") -> redis.Redis:
        return redis.Redis(
            port=self._redis_port,
            username=user,
            password=self.variables("redis.env")[f"REDIS_PASSWORD_{user.upper()}"],
            decode_responses=True,
            socket_timeout=5,
            retry=Retry(NoBackoff(), 0),
        )

    # the exchange

    def lift_limits(self) -> None:
        """One rotation after another weighs more than an address may ask for in a minute."""
        self.exchange.set_limits(weight_1m=0, orders_10s=0, orders_1m=0)

    def accept(self, keys: NewKeys) -> NewKeys:
        """The exchange knows them from now on, as if made on its web page."""
        trade, trade_secret, read, read_secret = keys.values
        self.exchange.add_key(trade, trade_secret, may_trade=True)
        self.exchange.add_key(read, read_secret, may_trade=False)
        return keys

    def present_keys(self) -> NewKeys:
        found = self.variables("testnet.env")
        first, second, third, fourth = (found[f"BINANCE_TESTNET_{name}"] for name in NAMES)
        return NewKeys((first, second, third, fourth))

    # the operator

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The rotation as a process group of its own."""
        temporary = self.files / "tmp"
        temporary.mkdir(exist_ok=True)
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "NO_COLOR": "1",
            "HOME": str(self.files),
            "TMPDIR": str(temporary),
            "ANSIBLE_LOCAL_TEMP": str(temporary),
            "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile",
            "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(self.files / "facts"),
            "ANSIBLE_LOG_PATH": str(self.files / "ansible.log"),
        }
        playbook = str(ROOT / "ansible" / "rotate_credentials.yml")
        return subprocess.Popen(
            ["ansible-playbook", "-i", str(INVENTORY), playbook, *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
            env=environment, start_new_session=True,
        )  # fmt: skip

    def rotate(self, *arguments: str, keys: NewKeys | None = None) -> Ended:
        began = time.monotonic()
        process = self.start(*arguments, *(self.by_file(keys) if keys else ()))
        try:
            text, _ = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return Ended(process.returncode, text, time.monotonic() - began)

    def by_file(self, keys: NewKeys, mode: int = 0o600) -> tuple[str, str]:
        """Arguments that take the keys from a file, whose place is outside of `files`."""
        path = self.files.parent / "new-keys.env"
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(keys.as_env(), encoding="utf-8")
        path.chmod(mode)
        return ("-e", f"rotation_file={path}")

    def rotate_on_host(self, given: Mapping[str, str], failpoint: str) -> Ended:
        """What the playbook runs there; it dies at the point of that name."""
        request = {"kind": "exchange", "environment": "testnet", "given": dict(given)}
        command = f"QUANTUM_FAILPOINT={failpoint} {PROGRAM}"
        return self.run(command, stdin=json.dumps(request), check=False)

    def wait_for_journal(self, word: str) -> None:
        """Until a rotation on the host has come to this phase."""
        look = f"until grep -qs {word} {JOURNAL}; do sleep 0.01; done"
        self.run(f"timeout 30 sh -c '{look}'")


def assert_well(stage: Stage, keys: NewKeys) -> None:
    assert stage.uses(keys)
    stage.assert_fit()
    assert stage.run(f"ls {JOURNAL}", check=False).code != 0
