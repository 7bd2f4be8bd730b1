"""A host that trades, as an operator and its exchange see it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import redis
from hosts import Ended, play, run_on, wait_until
from paper_exchange.testing import ControlClient, OrderRecord
from redis.backoff import NoBackoff
from redis.retry import Retry

INVENTORY = Path(__file__).resolve().parents[1] / "inventory" / "hosts.yml"
HOST = "kill"
KILL_FILE = "/var/lib/quantum/kill_switch"
RESULTS = "quantum:stream:apply.result"
EXECUTOR = "quantum-intent-executor.service"
BRAIN = "quantum-exitbrain-v35.service"
# Not the paper exchange: its journal of orders ends with it.
SERVICES = (BRAIN, EXECUTOR, "quantum-apply-layer.service", "quantum-position-state-brain.service")

# For ansible-playbook: the host is where nobody answers.
NOWHERE = ("-e", "ansible_host=127.0.0.1 ansible_port=1")


class Stage:
    """`passwords`: of Redis, by user; `token`: of the paper exchange's control API."""

    def __init__(self, redis_port: int, exchange_port: int) -> None:
        self._redis_port = redis_port
        self.exchange_url = f"http://127.0.0.1:{exchange_port}"
        secrets = self.run("cat /etc/quantum/redis.env /etc/quantum/paper-exchange.env").text
        self._secrets = dict(line.split("=", 1) for line in secrets.splitlines() if "=" in line)
        token = self._secrets.get("PAPER_EXCHANGE_CONTROL_TOKEN", "").strip('"')
        self.exchange = ControlClient(self.exchange_url, token)
        self._past_order = 0
        self._orders: list[OrderRecord] = []

    # the host

    def run(self, command: str, *, stdin: str = "", check: bool = True) -> Ended:
        return run_on(HOST, command, stdin=stdin, check=check)

    def main_pid(self, unit: str) -> str:
        return self.run(f"systemctl show --property=MainPID --value {unit}").text.strip()

    def bus(self, user: str = "operator") -> redis.Redis:
        return redis.Redis(
            port=self._redis_port,
            username=user,
            password=self._secrets[f"REDIS_PASSWORD_{user.upper()}"],
            decode_responses=True,
            socket_timeout=5,
            retry=Retry(NoBackoff(), 0),
        )

    def start_redis(self) -> None:
        """Restart Redis, and have all that it may lack then published anew."""
        self.run(
            "systemctl reset-failed redis-server.service; systemctl restart redis-server.service"
        )
        wait_until("Redis answers", self._redis_answers)
        self.run("systemctl restart quantum-policy-refresh.service")

    def _redis_answers(self) -> bool:
        try:
            return bool(self.bus().ping())
        except redis.RedisError:
            return False

    def secrets(self) -> list[str]:
        """Everything on the host that must not be seen anywhere else."""
        text = self.run("cat /etc/quantum/*.env").text
        named = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        words = ("KEY", "SECRET", "PASSWORD", "TOKEN")
        return [
            value.strip('"')
            for name, value in named.items()
            if any(word in name for word in words) and "PUBLIC" not in name
        ]

    # the operator

    def playbook(self, name: str, *arguments: str, timeout_s: float = 120) -> Ended:
        return play(INVENTORY, name, *arguments, timeout_s=timeout_s)

    def switch(self, state: str, *arguments: str, reason: str = "a drill") -> Ended:
        asked = json.dumps({"state": state, "reason": reason})
        return self.playbook("kill_switch.yml", "-e", asked, *arguments)

    def engage(self) -> int:
        """Switch on, as it must go. Returns the exchange's time at which the playbook was back."""
        done = self.switch("on")
        back_ms = self.exchange.now_ms()
        assert done.code == 0, done.text
        assert "no order of ours is accepted by the exchange any more" in done.text
        return back_ms

    def reconcile(self) -> None:
        """Say that the exchange is right, where an emptied Redis made P3.3 hold a symbol."""
        held = list(self.bus().scan_iter(match="quantum:reconcile:hold:*"))
        for key in held:
            self.run(f"exitctl reconcile {key.rpartition(':')[2]} --reason 'a drill'")

    # the exchange

    def accepted_since(self, exchange_ms: int) -> list[OrderRecord]:
        """Orders that the exchange accepted later than at this time of its clock."""
        orders = self.exchange.orders(self._past_order)
        settled = [order for order in orders if order.outcome != "pending"]
        return [
            order
            for order in settled
            if order.accepted and order.decided_ms is not None and order.decided_ms > exchange_ms
        ]

    def forget_orders(self) -> None:
        """Ask no more for what was before now."""
        orders = self.exchange.orders(self._past_order)
        self._past_order = max((order.seq for order in orders), default=self._past_order)

    def results_since(self, epoch_ms: int) -> list[dict[str, str]]:
        return [fields for _, fields in self.bus().xrange(RESULTS, min=f"{epoch_ms}-0")]

    def refused_since(self, epoch_ms: int) -> int:
        """How many plans have ended as "kill_switch_active" since."""
        errors = [fields["error"] for fields in self.results_since(epoch_ms)]
        return sum(error.startswith("kill_switch_active") for error in errors)

    def assert_stopped(self, back_ms: int, plans: int = 15) -> None:
        """Plans go on arriving and end with the switch as their reason; none was accepted."""
        from_ms = max(back_ms, int(time.time() * 1000))
        wait_until(
            f"{plans} plans refused by the switch", lambda: self.refused_since(from_ms) >= plans
        )
        late = self.accepted_since(back_ms)
        assert late == [], f"{len(late)} orders accepted after the switch was on: {late[:3]}"
        executed = [f for f in self.results_since(from_ms) if f["executed"] == "true"]
        granted = [f for f in executed if not self._was_before(f, back_ms)]
        assert granted == []

    def _was_before(self, result: dict[str, str], exchange_ms: int) -> bool:
        """An order accepted before may have its result written a little after."""
        orders = self.exchange.orders(self._past_order)
        of_result = [o for o in orders if o.client_order_id == result["client_order_id"]]
        return all(o.decided_ms is not None and o.decided_ms <= exchange_ms for o in of_result)

    def assert_trading(self, *, reconciling: bool = False) -> None:
        """Orders are accepted now. `reconciling`: a Redis that lost data may hold symbols."""
        now_ms = self.exchange.now_ms()

        def flows() -> bool:
            if reconciling:
                self.reconcile()
            return len(self.accepted_since(now_ms)) >= 3

        wait_until("three orders accepted", flows, timeout_s=30)
