"""The host, and whoever gets what it tells."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from hosts import wait_until
from testinfra.host import Host

SECRETS = (
    "molecule-token-of-alerts",
    "molecule-token-of-ping",
    "molecule-token-of-alertmanager",
)
# Raises alerts as the operator's user, each with an id of its own.
RAISE = """
import os, sys, time
from quantum_exit.alerts.publish import AlertType, Severity, publish_alert
from quantum_exit.bus.connection import connect
bus = connect(os.environ["REDIS_URL"])
for word in sys.argv[1:]:
    details = {"n": word}
    assert publish_alert(bus, AlertType.UNKNOWN_OUTCOME, Severity.CRITICAL, details, time.time())
"""


def until(what: str, condition: Callable[[], object], timeout_s: float = 60) -> None:
    """Each look is a command on the host, so they are not many."""
    wait_until(what, condition, timeout_s, every_s=0.3)


class Stage:
    def __init__(self, host: Host) -> None:
        self.host = host

    def run(self, command: str) -> str:
        return str(self.host.check_output(command))

    def got(self, path: str) -> list[dict[str, Any]]:
        """Documents that the receiver was sent to a path, in order."""
        text = self.host.run("cat /var/tmp/receiver.jsonl").stdout
        requests = [json.loads(line) for line in text.splitlines()]
        return [one["document"] for one in requests if one["path"].startswith(f"/{path}/")]

    def alerts(self, kind: str = "") -> list[dict[str, Any]]:
        found = self.got("alerts")
        return [one for one in found if kind in ("", one["alert_type"])]

    def numbers(self) -> list[str]:
        """Those that `raise_numbers` raised, as they arrived."""
        return [one["details"]["n"] for one in self.alerts("UNKNOWN_OUTCOME")]

    def raise_numbers(self, *numbers: str) -> None:
        words = " ".join(map(shlex.quote, numbers))
        script = shlex.quote(RAISE)
        environment = "set -a; . /etc/quantum/operator.env; set +a;"
        self.run(f"sh -c {shlex.quote(f'{environment} {self.python} -c {script} {words}')}")

    python = "/opt/quantum/current/bin/python"

    def record(self) -> dict[str, str]:
        """What the courier says of its deliveries."""
        script = (
            "import os, json; from quantum_exit.bus.connection import connect; "
            "from quantum_exit import keys; bus = connect(os.environ['REDIS_URL'], decode=True); "
            "print(json.dumps(bus.hgetall(keys.ALERTS_DELIVERED)))"
        )
        environment = "set -a; . /etc/quantum/operator.env; set +a;"
        command = f"{environment} {self.python} -c {shlex.quote(script)}"
        found: dict[str, str] = json.loads(self.run(f"sh -c {shlex.quote(command)}"))
        return found

    def is_ready(self, unit: str) -> bool:
        shown = self.host.run(f"systemctl show --property ActiveState,SubState {unit}").stdout
        return "ActiveState=active" in shown and "SubState=running" in shown

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What Prometheus answers. Fails if it does not understand the question."""
        url = f"http://127.0.0.1:9090/api/v1/query?query={quote(expression)}"
        script = (
            "import sys, urllib.request as r\n"
            "try: print(r.urlopen(sys.argv[1]).read().decode())\n"
            "except r.HTTPError as error: print(error.read().decode())"
        )
        answer = json.loads(self.run(f"python3 -c {shlex.quote(script)} {shlex.quote(url)}"))
        assert answer["status"] == "success", f"{expression}: {answer}"
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def fired(self, status: str) -> set[str]:
        """Names of what Alertmanager has told the receiver as `firing` or `resolved`."""
        return {
            alert["labels"]["alertname"]
            for document in self.got("alertmanager")
            for alert in document["alerts"]
            if alert["status"] == status
        }
