"""The same host as a straight list of stock tasks: what somebody would write without a design.

It is written down from a host that the roles have deployed: each user, folder, package, file and
unit is one task of a stock module, in the order of a deployment; what changed restarts what reads
it; it ends with the same proof. It is given what the roles work out: built releases, secrets,
rules of Redis. It makes, keeps and checks nothing beyond: no preflight, no secrets made on the
host, no way back, no proof of what was there before, no kill switch, no filter of packets.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .hosts import Host

SERVICES = (
    "quantum-paper-exchange",
    "quantum-position-state-brain",
    "quantum-intent-executor",
    "quantum-apply-layer",
    "quantum-exitbrain-v35",
)
TIMERS = ("quantum-policy-refresh", "quantum-exit-owner-watch", "exitbrain-proof")
USERS = ("quantum-exitbrain", "quantum-apply", "quantum-position", "quantum-executor")
NO_LOGIN: dict[str, Any] = {
    "system": True,
    "create_home": False,
    "shell": "/usr/sbin/nologin",
    "home": "/nonexistent",
    "password": "!",
}
FOLDERS = {
    "/etc/quantum": "0700",
    "/var/lib/quantum": "0755",
    "/var/log/quantum": "0755",
    "/etc/systemd/journald.conf.d": "0755",
    "/etc/systemd/system/redis-server.service.d": "0755",
    "/opt/quantum/releases": "0755",
    "/opt/quantum/paper/releases": "0755",
}
PLAIN_FILES = (
    "/etc/systemd/journald.conf.d/quantum.conf",
    "/etc/logrotate.d/quantum",
    "/etc/systemd/system/redis-server.service.d/quantum.conf",
    "/etc/redis/quantum.conf",
    "/etc/redis/quantum.acl",
    "/etc/quantum/policy.yml",
    "/var/lib/quantum/kill_switch",
)
Task = dict[str, Any]


def playbook(deployed: Host, folder: Path) -> Path:
    """Write the playbook, and the releases as archives beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "plain.yml"
    play = {
        "name": "A straight list",
        "hosts": "quantum",
        "become": True,
        "gather_facts": False,
        "tasks": [
            *_ground(),
            *_releases(deployed, folder),
            *_files(deployed),
            *_running(),
        ],
        "handlers": [_restart(f"{name}.service") for name in ("redis-server", *SERVICES)],
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps([play], indent=1))  # JSON is YAML
    return path


def _task(title: str, module: str, notify: list[str] | None = None, /, **arguments: Any) -> Task:
    task: Task = {"name": title, f"ansible.builtin.{module}": arguments}
    return {**task, "notify": notify} if notify else task


def _restart(unit: str) -> Task:
    return _task(f"Restart {unit}", "systemd_service", name=unit, state="restarted")


def _ground() -> list[Task]:
    packages = ["ca-certificates", "logrotate"]
    redis = ["redis-server", "redis-tools"]
    apt = {"install_recommends": False, "cache_valid_time": 86400}
    return [
        _task("Install packages", "apt", name=packages, **apt),
        _task("Install Redis", "apt", name=redis, policy_rc_d=101, **apt),
        *(_task(f"Have the user {user}", "user", name=user, **NO_LOGIN) for user in USERS),
        *(
            _task(f"Have {path}", "file", path=path, state="directory", mode=mode)
            for path, mode in FOLDERS.items()
        ),
    ]  # fmt: skip


def _releases(deployed: Host, folder: Path) -> list[Task]:
    tasks = []
    for root, services in (
        ("/opt/quantum", [name for name in SERVICES if "paper" not in name]),
        ("/opt/quantum/paper", ["quantum-paper-exchange"]),
    ):
        version = deployed.ssh(f"basename $(readlink {root}/current)").text.strip()
        archive = folder / f"{version}.tar.gz"
        packed = f"tar -C {root}/releases -czf - {version} | base64"
        archive.write_bytes(_decoded(deployed.ssh(packed).text))
        restart = [f"Restart {name}.service" for name in services]
        tasks += [
            _task(
                f"Unpack {version}", "unarchive", src=str(archive), dest=f"{root}/releases",
                creates=f"{root}/releases/{version}",
            ),
            _task(
                f"Make {version} the current one", "file", restart, path=f"{root}/current",
                src=f"releases/{version}", state="link",
            ),
        ]  # fmt: skip
    link = {"path": "/usr/local/bin/exitctl", "src": "/opt/quantum/current/bin/exitctl"}
    return [*tasks, _task("Have exitctl at hand", "file", state="link", **link)]


def _decoded(text: str) -> bytes:
    import base64

    return base64.b64decode(text)


def _files(deployed: Host) -> list[Task]:
    listed = deployed.ssh("ls /etc/quantum/*.env").text.split()
    units = [f"/etc/systemd/system/{name}.service" for name in (*SERVICES, *TIMERS)]
    timers = [f"/etc/systemd/system/{name}.timer" for name in TIMERS]
    paths = [*PLAIN_FILES, *listed, *units, *timers]
    said = deployed.ssh(f"stat --format='%n %a %G' {' '.join(paths)}").text.split("\n")
    texts = {path: deployed.ssh(f"cat {path}").text for path in paths}
    tasks = []
    for line in filter(None, said):
        path, mode, group = line.split()
        restart = [f"Restart {unit}" for unit in _readers(texts, path)]
        copied = {"dest": path, "content": texts[path]}
        owner = {"owner": "root", "group": group, "mode": f"0{mode}"}
        tasks.append(_task(f"Write {path}", "copy", restart, **copied, **owner))
        if path.endswith(".env"):
            tasks[-1] |= {"no_log": True, "diff": False}
    touch = {"state": "touch", "access_time": "preserve", "modification_time": "preserve"}
    log = {"path": "/var/log/quantum/exitbrain_v35.log", "owner": "quantum-exitbrain"}
    log_rights = {"group": "adm", "mode": "0640"}
    return [*tasks, _task("Have the log file", "file", **touch, **log, **log_rights)]


def _readers(texts: dict[str, str], path: str) -> list[str]:
    """The services that have to be restarted when the file changes."""
    if "redis" in path and not path.endswith(".env"):
        return ["redis-server.service"]
    units = {f"{name}.service": f"/etc/systemd/system/{name}.service" for name in SERVICES}
    return [unit for unit, file in units.items() if path == file or path in texts[file]]


def _running() -> list[Task]:
    units = ["redis-server.service", *(f"{name}.service" for name in SERVICES)]
    units += [f"{name}.timer" for name in TIMERS]
    run = {"state": "started", "enabled": True}
    proof = "until exitctl proof exitbrain --expect killed; do sleep 1; done"
    return [
        _task("Let systemd read the units", "systemd_service", daemon_reload=True),
        *(_task(f"Run {unit}", "systemd_service", name=unit, **run) for unit in units),
        {"name": "Restart what reads something that has changed", "ansible.builtin.meta":
            "flush_handlers"},
        {**_task("Publish the policy", "command", cmd="systemctl start quantum-policy-refresh"),
         "changed_when": False},
        {**_task("Prove", "command", argv=["timeout", "60", "sh", "-c", proof]),
         "changed_when": False},
    ]  # fmt: skip
