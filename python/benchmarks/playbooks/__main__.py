"""`python -m benchmarks.playbooks`: budgets of the playbooks, and the same work as a plain list.

Boots two sandbox hosts of its own (as root) and removes them again. Wall times, start of Ansible
included; the machine's load stands beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from collections.abc import Callable
from typing import Final

from .hosts import FOLDER, ROOT, BenchmarkError, Host, Ran
from .plain import playbook

ADD_KEYS: Final = """
import sys
from paper_exchange.testing import ControlClient
token, *keys = sys.stdin.read().split()
exchange = ControlClient("http://127.0.0.1:8091", token)
exchange.add_key(keys[0], keys[1], may_trade=True)
exchange.add_key(keys[2], keys[3], may_trade=False)
"""
CONTROL: Final = "sed -n 's/^PAPER_EXCHANGE_CONTROL_TOKEN=//p' /etc/quantum/paper-exchange.env"
NAMES: Final = ("API_KEY", "SECRET_KEY", "READ_API_KEY", "READ_SECRET_KEY")


class Table:
    """Prints each line as soon as it is known."""

    def __init__(self) -> None:
        self.over: list[str] = []
        print(f"{'':<34} {'took':>7} {'budget':>7} {'tasks':>6} {'changed':>8} {'load':>5}")

    def line(self, name: str, ran: Ran, budget_s: float | None = None) -> None:
        budget = f"{budget_s:.0f} s" if budget_s else ""
        done = f"{ran.tasks:>6} {ran.changed:>8}" if ran.tasks else f"{'':>15}"
        late = budget_s is not None and ran.took_s > budget_s
        load = os.getloadavg()[0]
        # Whoever shares the machine with others measures the others.
        busy = load > 2 * (os.cpu_count() or 1)
        mark = "  (others are at work here: not judged)" if busy else "  OVER" if late else ""
        print(f"{name:<34} {ran.took_s:>5.1f} s {budget:>7} {done} {load:>5.1f}{mark}", flush=True)
        if late and not busy:
            self.over.append(name)


def best(runs: int, once: Callable[[], Ran]) -> Ran:
    return min((once() for _ in range(runs)), key=lambda ran: ran.took_s)


def roles(host: Host, table: Table) -> None:
    booted = host.boot()
    table.line("boot from a cached image", booted)
    first = host.playbook("site.yml")
    table.line("first converge", first, 90)
    demo = host.ssh("/opt/quantum/current/bin/launch quantum_exit.demo")
    proof = host.ssh("exitctl proof exitbrain")
    took_s = booted.took_s + first.took_s + demo.took_s + proof.took_s
    table.line("up from a cached image", Ran(took_s, ""), 60)
    second = best(2, lambda: host.playbook("site.yml"))
    if second.changed:
        raise BenchmarkError("the second run changed something")
    table.line("second run, better of 2", second, 15)
    table.line("rotation of the exchange keys", rotation(host), 20)
    table.line("kill switch on, best of 3", best(3, lambda: kill(host)), 3)


def rotation(host: Host) -> Ran:
    values = [secrets.token_hex(20) for _ in NAMES]
    python = "/opt/quantum/paper/current/bin/python -c"
    token = host.ssh(CONTROL).text.strip().strip('"')
    host.ssh(f"{python} '{ADD_KEYS}'", stdin=" ".join([token, *values]))
    keys = FOLDER / "new-keys.env"
    keys.touch(mode=0o600)
    lines = (f"BINANCE_TESTNET_{n}={v}\n" for n, v in zip(NAMES, values, strict=True))
    keys.write_text("".join(lines))
    try:
        return host.playbook("rotate_credentials.yml", "-e", f"rotation_file={keys}")
    finally:
        keys.unlink()


def kill(host: Host) -> Ran:
    ran = host.playbook("kill_switch.yml", "-e", json.dumps({"state": "on", "reason": "benchmark"}))
    host.playbook("kill_switch.yml", "-e", json.dumps({"state": "off", "reason": "benchmark"}))
    return ran


def plain_list(deployed: Host, host: Host, table: Table) -> None:
    file = playbook(deployed, FOLDER / "plain")
    try:
        host.boot()
        table.line("plain list, first run", host.playbook(file))
        table.line("plain list, better of 2", best(2, lambda: host.playbook(file)))
    finally:
        file.unlink()


def main() -> int:
    """0 if all is within its budget, 1 if not, 3 if something could not be run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-plain", action="store_true", help="without the comparison")
    arguments = parser.parse_args()
    if not (ROOT / ".venv").exists():
        print("run ./quantum up once: it installs what this needs")
        return 3
    table, host, other = Table(), Host("bench"), Host("plain")
    try:
        roles(host, table)
        if not arguments.no_plain:
            plain_list(host, other, table)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 3
    finally:
        host.remove()
        other.remove()
    return 1 if table.over else 0


if __name__ == "__main__":
    sys.exit(main())
