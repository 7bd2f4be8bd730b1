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
from ansible.module_utils.quantum_host_environment import (
    JOURNAL,
    READER,
    SECRETS,
    TRADER,
    UnreadableError,
    deployed_for,
    is_switching,
    other_than,
    pair_of,
    reader_of,
    source_pairs,
    variables,
)
from ansible.module_utils.quantum_signed_read import (
    ReadError,
    RejectedError,
    exchange_url,
    open_positions,
)

DOCUMENTATION = r"""
module: quantum_preflight
short_description: Refuse a host on which a deployment could not be finished
description:
  - Reads files of the host, and asks the exchange for its time. Names everything that is wrong
    at once. An exchange that cannot be reached is a warning, not a fault.
  - Proves the keys that the deployment would take by a signed read of the exchange they are for.
    A key that the exchange refuses is a fault, unless the host runs with it already.
  - A host that is to move to the other environment must be told so, must be flat on the one it
    leaves, and its new keys must be accepted. There, what cannot be seen is a fault.
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
  positions:
    description: C(leave) moves a host that has, or may have, positions on the one it leaves.
    type: str
    choices: ["", leave]
    default: ""
  expect:
    description: What was asked for with C(-e expect).
    type: str
    default: ""
  base_url:
    description: Where the exchange is. Empty takes the address that belongs to the environment.
    type: str
    default: ""
  api_key:
    description: Key that a host without a source of truth would be given.
    type: str
  api_secret:
    description: Secret that a host without a source of truth would be given.
    type: str
  read_api_key:
    description: Key of the pair that may only read.
    type: str
  read_api_secret:
    description: Secret of the pair that may only read.
    type: str
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
deployed:
  description: Whether the host has the mark of its first deployment.
  type: bool
  returned: always
switching:
  description: Whether the deployment moves the host to the other environment.
  type: bool
  returned: success
"""

DEPLOYED = Path("/var/lib/quantum/deployed")
MACHINES = ("x86_64", "aarch64")
CLOCK_AT_MOST_MS = 1000
TIME_TIMEOUT_S = 3
SOURCE_NAMES = {
    "API_KEY": "api_key",
    "SECRET_KEY": "api_secret",
    "READ_API_KEY": "read_api_key",
    "READ_SECRET_KEY": "read_api_secret",
}


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


def environment_faults(
    environment: str, confirm: str, secrets: Path = SECRETS, journal: Path = JOURNAL
) -> list[str]:
    """What speaks of the other exchange. Names of variables only, never values."""
    other = other_than(environment)
    found = []
    source = secrets / f"{environment}.env"
    foreign = re.compile(rf"\s*(BINANCE_{other.upper()}_[A-Z_]*KEY)\s*=")
    names = [match[1] for line in lines_of(source) if (match := foreign.match(line))]
    if names:
        found.append(f"{source} holds keys of {other}: {', '.join(names)}")
    if confirm and confirm != environment:
        found.append(f"confirm={confirm} was given, but this inventory is for {environment}")
    elif not confirm and deployed_for(secrets, journal) == other:
        found.append(
            f"it was deployed for {other}: positions there would be left alone. If that is "
            f"wanted, close them and say -e confirm={environment}"
        )
    return found


def key_findings(
    environment: str,
    base_url: str,
    given: dict[str, str],
    secrets: Path = SECRETS,
    journal: Path = JOURNAL,
) -> tuple[list[str], list[str]]:
    """What is wrong with the keys that would be taken, and what is only to be warned of."""
    faults, warnings = [], []
    url, switching = (
        exchange_url(base_url, environment),
        is_switching(environment, secrets, journal),
    )
    runs_with = () if switching else (variables(secrets / TRADER), variables(secrets / READER))
    known = [pair_of(found) for found in runs_with]
    theirs = source_pairs(other_than(environment), {}, secrets)
    for kind, pair in source_pairs(environment, given, secrets).items():
        told = f"the {kind} key of {environment}"
        if pair[0] in [key for key, _ in theirs.values()]:
            faults.append(f"{told} is also in {secrets / f'{other_than(environment)}.env'}")
            continue
        try:
            open_positions(url, *pair)
        except RejectedError as error:
            if pair in known:
                warnings.append(f"{told}, which it runs with, is refused: {error}. Rotate it")
            else:
                faults.append(
                    f"{told} is refused: {error}. Is it a key of {other_than(environment)}?"
                )
        except ReadError as error:
            unproven = f"{told} was not proven: {error}"
            if switching:
                faults.append(unproven)
            elif "//127.0.0.1:" not in url:
                warnings.append(unproven)
    return faults, warnings


def leaving_faults(
    environment: str,
    expect: str,
    positions: str,
    secrets: Path = SECRETS,
    journal: Path = JOURNAL,
) -> list[str]:
    """What stands against moving a host that was told to move."""
    if not is_switching(environment, secrets, journal):
        return []
    found = []
    if expect == "live":
        found.append(
            f"a host arrives on {environment} in SHADOW with its kill switch on: without "
            "-e expect=live, and once more with it when you have looked"
        )
    left = deployed_for(secrets, journal)
    if left == environment or positions == "leave":
        return found
    leave = "close them, or leave them alone with -e positions=leave"
    try:
        held = open_positions(*reader_of(left, secrets))
    except ReadError as error:
        return [*found, f"its positions on {left} could not be read: {error}; {leave}"]
    if held:
        told = ", ".join(f"{symbol} {amount}" for symbol, amount in sorted(held.items()))
        found.append(f"it has positions on {left}: {told}; {leave}")
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
    keys = ("api_key", "api_secret", "read_api_key", "read_api_secret")
    module = AnsibleModule(
        argument_spec={
            "supported": {"type": "dict", "required": True},
            "min_free_mb": {"type": "int", "required": True},
            "environment": {"type": "str", "choices": ["testnet", "mainnet"], "required": True},
            "confirm": {"type": "str", "default": ""},
            "positions": {"type": "str", "choices": ["", "leave"], "default": ""},
            "expect": {"type": "str", "default": ""},
            "base_url": {"type": "str", "default": ""},
            "time_url": {"type": "str", "required": True},
            "packages": {"type": "list", "elements": "str", "default": []},
            **{name: {"type": "str", "no_log": True} for name in keys},
        },
        supports_check_mode=True,
    )
    asked = module.params
    found = faults(asked["supported"], asked["min_free_mb"])
    clock, not_compared = clock_fault(asked["time_url"])
    if clock:
        found.append(clock)
    # A sandbox that was never deployed has no exchange yet.
    if not_compared and "//127.0.0.1:" not in asked["time_url"]:
        module.warn(not_compared)
    switching = False
    try:
        environment = asked["environment"]
        told = environment_faults(environment, asked["confirm"])
        switching = is_switching(environment)
        if not told:  # else it is not known whose keys these are
            given = {name: asked[word] or "" for name, word in SOURCE_NAMES.items()}
            told, warnings = key_findings(environment, asked["base_url"], given)
            told += leaving_faults(environment, asked["expect"], asked["positions"])
            for warning in warnings:
                module.warn(warning)
        found += told
    except UnreadableError as error:
        found.append(str(error))
    if found:
        module.fail_json(msg="; ".join(found))
    module.exit_json(
        changed=False,
        switching=switching,
        python=python_version(),
        machine=platform.machine(),
        installed=installed(asked["packages"]),
        deployed=DEPLOYED.exists(),
    )


if __name__ == "__main__":
    main()
