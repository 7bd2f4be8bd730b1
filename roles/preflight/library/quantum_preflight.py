#!/usr/bin/python
"""Look at a host before anything on it is changed (see DOCUMENTATION)."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: quantum_preflight
short_description: Refuse a host on which a deployment could not be finished
description:
  - Reads files of the host, and asks the exchange for its time. Names everything that is wrong
    at once. An exchange that cannot be reached is a warning, not a fault.
options:
  supported:
    description: Versions of each system, by its ID in C(/etc/os-release).
    type: dict
    required: true
  min_free_mb:
    description: Space that must be free where releases and data lie, in MB.
    type: int
    required: true
  environment:
    description: Which exchange the host is to trade on.
    type: str
    choices: [testnet, mainnet]
    required: true
  confirm:
    description: The environment, repeated, to move a host to it that was deployed for the other.
    type: str
    default: ""
  time_url:
    description: Address that answers with C(serverTime) in milliseconds.
    type: str
    required: true
  packages:
    description: Packages to look for. To ask apt takes seconds where nothing is to be done.
    type: list
    elements: str
    default: []
"""

RETURN = r"""
python:
  description: Version of the system's Python.
  type: str
  returned: always
machine:
  description: Its architecture.
  type: str
  returned: always
installed:
  description: Those of C(packages) that are installed.
  type: list
  returned: always
"""

MACHINES = ("x86_64", "aarch64")
SECRETS = Path("/etc/quantum")
BRAIN_ENV = "exitbrain-v35.env"
CLOCK_AT_MOST_MS = 1000
TIME_TIMEOUT_S = 3


def faults(supported: dict, min_free_mb: int) -> list[str]:
    system = platform.freedesktop_os_release()
    name, version = system.get("ID", ""), system.get("VERSION_ID", "")
    found = []
    if version not in [str(each) for each in supported.get(name, [])]:
        known = ", ".join(
            f"{each} {' or '.join(str(v) for v in versions)}"
            for each, versions in supported.items()
        )
        found.append(f"{system.get('PRETTY_NAME', name)} is not supported; supported are {known}")
    if platform.machine() not in MACHINES:
        found.append(f"{platform.machine()} is not supported; supported are {', '.join(MACHINES)}")
    if not Path("/run/systemd/system").is_dir():
        found.append("systemd does not run on it")
    if os.geteuid() != 0:
        found.append("not root: log in as root, or set ansible_become for the host")
    for path in ("/opt", "/var/lib"):
        free_mb = shutil.disk_usage(path).free // 1_000_000
        if free_mb < min_free_mb:
            found.append(f"{path} has {free_mb} MB free, {min_free_mb} MB are needed")
    return found


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []


def environment_faults(environment: str, confirm: str, secrets: Path = SECRETS) -> list[str]:
    """What speaks of the other exchange. Names of variables only, never values."""
    other = "mainnet" if environment == "testnet" else "testnet"
    found = []
    source = secrets / f"{environment}.env"
    foreign = re.compile(rf"\s*(BINANCE_{other.upper()}_[A-Z_]*KEY)\s*=")
    names = [match[1] for line in lines_of(source) if (match := foreign.match(line))]
    if names:
        found.append(f"{source} holds keys of {other}: {', '.join(names)}")
    told = [line for line in lines_of(secrets / BRAIN_ENV) if line.startswith("BINANCE_TESTNET=")]
    if told and confirm != environment:
        testnet = told[-1].partition("=")[2].strip().strip("\"'").lower() == "true"
        if testnet != (environment == "testnet"):
            found.append(
                f"it was deployed for {other}: positions there would be left alone. If that is "
                f"wanted, close them and say -e confirm={environment}"
            )
    return found


def python_version() -> str:
    """Of the system's Python, which releases run with; this module's own may be another."""
    command = ["python3", "-c", "import platform; print(platform.python_version())"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def installed(packages: list[str]) -> list[str]:
    command = ["dpkg-query", "--show", "--showformat=${Package} ${Status}\\n", *packages]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    words = [line.partition(" ") for line in said.splitlines()]
    return [name for name, _, status in words if status.endswith("ok installed")]


def clock_fault(time_url: str) -> tuple[str, str]:
    """What is proven wrong with the clock, and why it could not be compared. One is empty."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    before_ms = time.time() * 1000
    try:
        with opener.open(time_url, timeout=TIME_TIMEOUT_S) as answer:
            server_ms = float(json.load(answer)["serverTime"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "reason", error)
        return "", f"the clock was not compared: {time_url}: {reason}"
    after_ms = time.time() * 1000
    # The exchange read its clock somewhere between the two: only what is certain is a fault.
    ahead_ms, behind_ms = before_ms - server_ms, server_ms - after_ms
    if max(ahead_ms, behind_ms) <= CLOCK_AT_MOST_MS:
        return "", ""
    off = f"{ahead_ms / 1000:.1f} s ahead" if ahead_ms > 0 else f"{behind_ms / 1000:.1f} s behind"
    return f"its clock is {off} of the exchange's: timedatectl set-ntp true", ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "supported": {"type": "dict", "required": True},
            "min_free_mb": {"type": "int", "required": True},
            "environment": {"type": "str", "choices": ["testnet", "mainnet"], "required": True},
            "confirm": {"type": "str", "default": ""},
            "time_url": {"type": "str", "required": True},
            "packages": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    found = faults(module.params["supported"], module.params["min_free_mb"])
    found += environment_faults(module.params["environment"], module.params["confirm"])
    clock, not_compared = clock_fault(module.params["time_url"])
    if clock:
        found.append(clock)
    # A sandbox that was never deployed has no exchange yet.
    if not_compared and "//127.0.0.1:" not in module.params["time_url"]:
        module.warn(not_compared)
    if found:
        module.fail_json(msg="; ".join(found))
    module.exit_json(
        changed=False,
        python=python_version(),
        machine=platform.machine(),
        installed=installed(module.params["packages"]),
    )


if __name__ == "__main__":
    main()
