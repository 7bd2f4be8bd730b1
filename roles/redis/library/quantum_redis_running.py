#!/usr/bin/python
"""Ansible module: Redis runs with the configuration and the rules that lie on disk."""

from __future__ import annotations

import os
import re
import subprocess
import time

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: quantum_redis_running
short_description: Start, restart or reload Redis until it runs what lies on disk
description:
  - Compares the running server with the files, so a change whose restart was lost is caught up on.
  - A changed configuration means a restart; changed rules alone are loaded into the running server.
options:
  unit: {description: The systemd unit., type: str, required: true}
  files:
    description: Files that are read at start only.
    type: list
    elements: path
    required: true
  acl_file: {description: The rules., type: path, required: true}
  password_file: {description: Where the password of C(maintenance) is., type: path, required: true}
  port: {description: The server's port on loopback., type: int, required: true}
  timeout_s: {description: How long loading the data may take., type: int, default: 120}
author: [quantum-exit]
"""

EXAMPLES = r"""
- name: Run what lies on disk
  quantum_redis_running:
    unit: redis-server.service
    files: [/etc/redis/quantum.conf]
    acl_file: /etc/redis/quantum.acl
    password_file: /etc/quantum/redis.env
    port: 6379
"""

RETURN = r"""
did:
  description: none, start, restart or load.
  type: str
  returned: always
"""

USER = "maintenance"


class FailedError(Exception):
    """What is wrong, in one line."""


def systemctl(*words: str) -> str:
    """Run systemctl; its complaint becomes a FailedError."""
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise FailedError(f"systemctl {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def properties(unit: str) -> dict[str, str]:
    """What systemd knows of the unit."""
    names = "LoadState,ActiveState,UnitFileState,ExecMainStartTimestampMonotonic"
    lines = systemctl("show", unit, "--property", names).splitlines()
    return dict(line.split("=", 1) for line in lines)


def started_at(known: dict[str, str]) -> float:
    """Wall clock time of the main process's start, in seconds."""
    age_s = time.monotonic() - int(known["ExecMainStartTimestampMonotonic"]) / 1e6
    return time.time() - age_s


def ask(port: int, password_file: str, *command: str) -> str:
    """One command as maintenance; the answer, an error's text included."""
    password = ""
    with open(password_file, encoding="utf-8") as stream:
        for line in stream:
            name, _, value = line.strip().partition("=")
            if name == f"REDIS_PASSWORD_{USER.upper()}":
                password = value
    done = subprocess.run(
        ["redis-cli", "-h", "127.0.0.1", "-p", str(port), "--user", USER, *command],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PATH": os.environ["PATH"], "REDISCLI_AUTH": password},
    )
    return f"{done.stdout.strip()} {done.stderr.strip()}".strip()


def keys_of_somebody_else(port: int) -> int:
    """Keys in a server that asks for no password, that is: one not set up by this role."""
    done = subprocess.run(
        ["redis-cli", "-h", "127.0.0.1", "-p", str(port), "DBSIZE"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    answer = done.stdout.strip()
    return int(answer) if answer.isdigit() else 0


def revision_on_disk(acl_file: str) -> str:
    """The name of the user that marks the rules."""
    with open(acl_file, encoding="utf-8") as stream:
        found = re.search(r"^user (revision-[0-9a-f]+) ", stream.read(), re.MULTILINE)
    if found is None:
        raise FailedError(f"{acl_file} carries no revision")
    return found.group(1)


def what_to_do(parameters: dict, known: dict[str, str]) -> str:
    """none, start, restart or load."""
    if known["ActiveState"] not in {"active", "activating", "reloading"}:
        return "start"
    since = started_at(known)
    for path in parameters["files"]:
        if not os.path.exists(path) or os.stat(path).st_mtime > since:
            return "restart"
    users = ask(parameters["port"], parameters["password_file"], "ACL", "USERS").split()
    if USER not in users:  # other passwords than those on disk: only a restart helps
        return "restart"
    return "none" if revision_on_disk(parameters["acl_file"]) in users else "load"


def do(action: str, parameters: dict) -> None:
    """Carry it out and wait for the proof that it runs what lies on disk."""
    unit, port, passwords = parameters["unit"], parameters["port"], parameters["password_file"]
    if action == "load":
        answer = ask(port, passwords, "ACL", "LOAD")
        if answer != "OK":
            raise FailedError(f"Redis refused the rules and keeps the old ones: {answer}")
    else:
        if action == "restart" and (foreign := keys_of_somebody_else(port)):
            raise FailedError(
                f"the Redis on this host holds {foreign} keys of somebody else and asks for no "
                "password; this role needs a Redis of its own: move that data away first"
            )
        # NeedDaemonReload does not tell of a first drop-in (systemd 252).
        systemctl("daemon-reload")
        systemctl(action, unit)
    wanted = revision_on_disk(parameters["acl_file"])
    deadline = time.monotonic() + parameters["timeout_s"]
    while True:
        answer = ask(port, passwords, "ACL", "USERS")
        if wanted in answer.split():
            return
        if time.monotonic() > deadline:
            raise FailedError(f"Redis does not run what lies on disk: {answer}")
        time.sleep(0.1)


def last_log_lines(unit: str) -> str:
    """The end of the unit's journal, for a failure's message."""
    done = subprocess.run(
        ["journalctl", "--unit", unit, "--lines", "15", "--no-pager", "--output", "cat"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "unit": {"type": "str", "required": True},
            "files": {"type": "list", "elements": "path", "required": True},
            "acl_file": {"type": "path", "required": True},
            # The name of a file, not its content.
            "password_file": {"type": "path", "required": True, "no_log": False},
            "port": {"type": "int", "required": True},
            "timeout_s": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    unit = module.params["unit"]
    try:
        known = properties(unit)
        if module.check_mode and not os.path.exists(module.params["acl_file"]):
            module.exit_json(changed=True, did="start")
        if known["LoadState"] != "loaded":
            raise FailedError(f"{unit} is {known['LoadState']}: is redis-server installed?")
        action = what_to_do(module.params, known)
        enable = known["UnitFileState"] != "enabled"
        result = {"changed": action != "none" or enable, "did": action}
        if not module.check_mode:
            if enable:
                systemctl("enable", unit)
            if action != "none":
                do(action, module.params)
    except FailedError as error:
        module.fail_json(msg=str(error), journal=last_log_lines(unit).splitlines())
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
