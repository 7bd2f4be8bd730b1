#!/usr/bin/python
"""Write the kill switch as off, once in a host's life (see DOCUMENTATION)."""

from __future__ import annotations

import json
import os
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.quantum_envfile import EnvFileError, parse

DOCUMENTATION = r"""
module: quantum_first_deployment
short_description: Write the kill switch as off on the very first deployment
description:
  - On a host that was never deployed, creates the kill file with C(off), writes
    C(quantum:kill_switch) as off if that key does not exist, and leaves a mark.
  - On a host with the mark it changes nothing, whatever is missing. Missing means on, and only a
    person releases it.
  - A host without the mark that has derived env files has lost its state. It gets the mark and
    stays killed.
options:
  state_directory:
    description: Directory of the kill file and of the mark.
    type: path
    default: /var/lib/quantum
  directory:
    description: Directory of the env files.
    type: path
    default: /etc/quantum
  env_file:
    description: A file in O(directory) that only an earlier deployment can have made.
    type: str
    required: true
  redis_host:
    description: Where Redis listens.
    type: str
    default: 127.0.0.1
  redis_port:
    description: Port of Redis.
    type: int
    default: 6379
  redis_user:
    description: User that may write the kill switch.
    type: str
    default: operator
"""

RETURN = r"""
first:
  description: Whether this is the first deployment of the host.
  type: bool
  returned: always
"""

KEY = "quantum:kill_switch"
OFF = b"off\n"  # as long as it can get: overwritten in place, on a full disk too
REASON = "first deployment"


class RefusedError(Exception):
    """The kill switch could not be written; the message says why."""


def create(path: Path, content: bytes) -> None:
    """Create a file with its content in one step; an existing one stays as it is."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def write_runtime_switch(parameters: dict) -> None:
    """SET NX: what stands in Redis already, engaged or not, stays."""
    name = f"REDIS_PASSWORD_{parameters['redis_user'].upper()}"
    path = Path(parameters["directory"], "redis.env")
    try:
        password = parse(path.read_text(encoding="utf-8"))[name]
    except FileNotFoundError:
        raise RefusedError(f"{path} is missing: the redis role makes it") from None
    except KeyError:
        raise RefusedError(f"{path}: {name} is missing") from None
    except EnvFileError as error:
        raise RefusedError(f"{path}: {error}") from None
    now = time.time()
    document = {
        "active": False,
        "by": "deployment",
        "reason": REASON,
        "at": datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
        "epoch": round(now, 3),
    }
    address = ["-h", parameters["redis_host"], "-p", str(parameters["redis_port"])]
    user = ["--user", parameters["redis_user"], "--no-auth-warning", "-e"]
    command = ["SET", KEY, json.dumps(document, separators=(",", ":")), "NX"]
    try:
        done = subprocess.run(
            ["redis-cli", *address, *user, *command],
            env={**os.environ, "REDISCLI_AUTH": password},
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RefusedError(f"redis-cli: {type(error).__name__}") from None
    if done.returncode != 0:
        raise RefusedError(f"Redis did not take {KEY}: {(done.stderr or done.stdout).strip()}")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state_directory": {"type": "path", "default": "/var/lib/quantum"},
            "directory": {"type": "path", "default": "/etc/quantum"},
            "env_file": {"type": "str", "required": True},
            "redis_host": {"type": "str", "default": "127.0.0.1"},
            "redis_port": {"type": "int", "default": 6379},
            "redis_user": {"type": "str", "default": "operator"},
        },
        supports_check_mode=True,
    )
    state = Path(module.params["state_directory"])
    mark, kill_file = state / "deployed", state / "kill_switch"
    if mark.exists():
        if not kill_file.exists():
            module.warn(f"{kill_file} is missing, which counts as on: exitctl resume --reason ...")
        module.exit_json(changed=False, first=False)
    lost = Path(module.params["directory"], module.params["env_file"]).exists()
    if lost:
        module.warn(f"{mark} is missing on a deployed host: the kill switch is not written as off")
    after = f"{mark}\n" if lost else f"{kill_file}: off\n{KEY}: off, unless it exists\n{mark}\n"
    if not module.check_mode:
        try:
            if not lost:
                write_runtime_switch(module.params)
                create(kill_file, OFF)
            create(mark, f"{datetime.now(UTC).isoformat(timespec='seconds')}\n".encode())
        except RefusedError as error:
            module.fail_json(msg=str(error))
        except OSError as error:
            module.fail_json(msg=f"{error.filename}: {error.strerror}")
    module.exit_json(changed=True, first=not lost, diff={"before": "", "after": after})


if __name__ == "__main__":
    main()
