"""The host that is deployed to, as an operator sees it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hosts import SSH_CONFIG, Ended, play, play_and_kill, run_on

SCENARIO = Path(__file__).resolve().parents[1]
HOST = "roll"
PLANS = "/run/quantum-plans.py"
UNITS = (
    "quantum-exitbrain-v35",
    "quantum-apply-layer",
    "quantum-position-state-brain",
    "quantum-intent-executor",
)
# As from another machine: not by the connection that the first one keeps open.
ANOTHER = (
    "-e",
    json.dumps(
        {"ansible_ssh_common_args": f"-F '{SSH_CONFIG}' -o ControlPath=/run/quantum-another-%C"}
    ),
)
KEPT = "/etc/quantum/before-deployment.json"


def run(command: str, *, stdin: str = "", check: bool = True) -> Ended:
    return run_on(HOST, command, stdin=stdin, check=check)


def playbook(name: str, *arguments: str) -> Ended:
    return play(SCENARIO / "inventory" / "hosts.yml", name, *arguments)


def deploy(project: str, *arguments: str) -> Ended:
    return playbook("site.yml", "-e", f"rollback_project={project}", *arguments)


def deploy_and_kill(project: str, *arguments: str, what: str, when: Callable[[], object]) -> None:
    inventory = SCENARIO / "inventory" / "hosts.yml"
    words = ("-e", f"rollback_project={project}", *arguments)
    play_and_kill(inventory, "site.yml", *words, what=what, when=when)


def rollback(*arguments: str) -> Ended:
    return playbook("rollback.yml", *arguments)


def current() -> str:
    return run("basename $(readlink /opt/quantum/current)").text.strip()


def previous() -> str:
    return run("basename $(readlink /opt/quantum/previous)").text.strip()


def processes() -> list[str]:
    """Main processes of the services: they change when one is restarted."""
    return run(f"systemctl show --property=MainPID --value {' '.join(UNITS)}").text.split()


def releases_that_run() -> set[str]:
    """By the processes themselves."""
    paths = run(
        "for unit in " + " ".join(UNITS) + "; do "
        "head -z -n1 /proc/$(systemctl show --property=MainPID --value $unit)/cmdline"
        " | tr '\\0' '\\n'; done"
    ).text.split()
    assert len(paths) == len(UNITS)
    return {path.removeprefix("/opt/quantum/releases/").split("/")[0] for path in paths}


def configuration() -> str:
    """Hashes of everything a deployment derives or renders; passwords once made are kept."""
    return run(
        "cd / && sha256sum $(ls etc/quantum/*.env | grep -v redis.env) etc/quantum/policy.yml"
        " etc/redis/quantum.*"
        " etc/systemd/system/quantum-* etc/systemd/system/exitbrain-proof.*"
    ).text


def proof(expect: str) -> Ended:
    return run(f"exitctl proof exitbrain --expect {expect}", check=False)


def nothing_is_left_behind() -> bool:
    return run(f"test -e {KEPT}", check=False).code == 1


class Plans:
    """Two plans a second arrive on the host, until `stop`."""

    def __init__(self) -> None:
        source = (SCENARIO / "files" / "plans.py").read_text(encoding="utf-8")
        run(f"cat >{PLANS}", stdin=source)
        # By the release itself, not by `current`: it outlives the switch that is tested.
        start = ["systemd-run", "--unit=quantum-plans", "--collect", "--property=Restart=no"]
        self._python = f"$(readlink -f /opt/quantum/current)/bin/python {PLANS}"
        run(f"{_words(start)} {self._python} send")

    def audit(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(run(f"{self._python} audit").text)
        return found

    def stop(self) -> None:
        run("systemctl is-active quantum-plans.service && systemctl stop quantum-plans.service")


def _words(words: Sequence[str]) -> str:
    return " ".join(words)
