#!/usr/bin/python
"""Make a service run what lies on disk (see DOCUMENTATION)."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.quantum_envfile import EnvFileError, parse
from ansible.module_utils.quantum_unit_files import Installation, UnitError

DOCUMENTATION = r"""
module: quantum_service
short_description: Make a service run the release, the unit and the env file that lie on disk
description:
  - Installs the unit first if its text is given (see C(quantum_units)).
  - Asks the running process itself (its command line and environment in C(/proc)) and restarts
    the service if it differs from the disk or does not run. So a play that died between writing
    and restarting is made up for by the next one.
  - Waits until the service reports that it is ready. If it does not, fails with its last log
    lines.
options:
  name:
    description: The unit.
    type: str
    required: true
  text:
    description: The unit file. Empty leaves the one that lies there.
    type: str
    default: ""
  env_file:
    description: The env file that the unit reads, if systemd does not know better.
    type: path
    required: true
  root:
    description: Directory whose C(current) points at the release.
    type: path
    required: true
  pending:
    description: In check mode, what earlier tasks would have changed. Taken as reasons.
    type: list
    elements: str
    default: []
  package:
    description:
      - Python package of the service, where a release may be older than the service. If the
        current release lacks it, or the unit is not installed, everything is left as it is.
    type: str
    default: ""
  ready_timeout_s:
    description: How long it may take until the service is ready.
    type: int
    default: 30
"""

RETURN = r"""
reasons:
  description: Why the service was, or in check mode would be, restarted. Names, never values.
  type: list
  returned: always
status:
  description: What the service says of itself.
  type: str
  returned: always
"""

# Variables that come from our files; all others in a process are systemd's own.
OURS = (
    *("BINANCE_", "USE_BINANCE_", "EXIT_", "INTENT_EXECUTOR_", "QUANTUM_", "REDIS_", "PAPER_"),
    *("ALERTS_", "METRICS_"),
)
FINGERPRINT = "QUANTUM_UNIT_FINGERPRINT"
SHOWN = ("ActiveState", "SubState", "Result", "MainPID", "ExecMainStatus", "StatusText")
LOG_LINES = 30
POLL_S = 0.1
WRONG = "wrong configuration; it is not started again until that is mended"


def show(name: str) -> dict[str, str]:
    command = ["systemctl", "show", f"--property={','.join(SHOWN)}", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def process_environment(pid: str) -> dict[str, str]:
    content = Path("/proc", pid, "environ").read_bytes().decode("utf-8", "surrogateescape")
    return dict(word.split("=", 1) for word in content.split("\0") if "=" in word)


def process_release(pid: str, root: Path) -> str:
    """The release that a process was started from, by its command line."""
    program = Path("/proc", pid, "cmdline").read_bytes().split(b"\0")[0].decode()
    try:
        return Path(program).relative_to(root / "releases").parts[0]
    except ValueError:
        return "another program"


def unit_fingerprint(name: str) -> str:
    path = Path("/etc/systemd/system", name)
    marker = f"Environment={FINGERPRINT}="
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return next((line.removeprefix(marker) for line in lines if line.startswith(marker)), "")


def env_files(name: str, otherwise: str) -> list[str]:
    """What systemd reads for the unit, in its order: drop-ins may have named more than one."""
    command = ["systemctl", "show", "--property=EnvironmentFiles", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    words = (line.partition("=")[2].rpartition(" (")[0] for line in done.stdout.splitlines())
    return [word for word in words if word] or [otherwise]


def variables_on_disk(name: str, otherwise: str) -> dict[str, str]:
    """Of two assignments of a variable the later file's counts."""
    found: dict[str, str] = {}
    for path in env_files(name, otherwise):
        found.update(parse(Path(path).read_text(encoding="utf-8")))
    return found


def differences(pid: str, parameters: dict) -> list[str]:
    """What the running process has that the disk has not, and the other way round."""
    root = Path(parameters["root"])
    running = process_environment(pid)
    on_disk = variables_on_disk(parameters["name"], parameters["env_file"])
    reasons = []
    current = os.path.basename(os.path.realpath(root / "current"))
    started_from = process_release(pid, root)
    if started_from != current:
        reasons.append(f"release: {started_from} runs, {current} is current")
    if running.get(FINGERPRINT, "") != unit_fingerprint(parameters["name"]):
        reasons.append("the unit file has changed since it was started")
    reasons += [f"{name} has changed" for name in on_disk if running.get(name) != on_disk[name]]
    reasons += [
        f"{name} is gone"
        for name in running
        if name.startswith(OURS) and name not in on_disk and name != FINGERPRINT
    ]
    return reasons


def is_not_there(parameters: dict) -> bool:
    """A service that came with a later release than the current one."""
    if not parameters["package"]:
        return False
    installed = Path("/etc/systemd/system", parameters["name"]).exists()
    place = f"lib/python3*/site-packages/{parameters['package'].replace('.', '/')}"
    return not installed or not list(Path(parameters["root"], "current").glob(place))


def why_restart(parameters: dict) -> list[str]:
    state = show(parameters["name"])
    if state.get("ActiveState") != "active" or state.get("MainPID", "0") == "0":
        return [f"it is {state.get('ActiveState', 'unknown')}, not active"]
    try:
        return differences(state["MainPID"], parameters)
    except (FileNotFoundError, ProcessLookupError):
        return ["it ended, or its files are not there yet"]


def restart(name: str, timeout_s: int) -> str:
    """Restart and wait until it is ready. Return an empty string, or what went wrong."""
    deadline = time.monotonic() + timeout_s
    subprocess.run(["systemctl", "reset-failed", name], capture_output=True, check=False)
    command = ["systemctl", "restart", name]
    with contextlib.suppress(subprocess.TimeoutExpired):  # the state below says what it came to
        subprocess.run(command, capture_output=True, check=False, timeout=timeout_s)
    while True:
        state = show(name)
        if state.get("ActiveState") == "active":
            return ""
        if state.get("ActiveState") == "failed":
            status = state.get("ExecMainStatus", "")
            wrong = status == str(os.EX_CONFIG)
            return f"it ended with status {status} ({WRONG if wrong else state.get('Result')})"
        if time.monotonic() > deadline:
            return f"it is {state.get('ActiveState')} ({state.get('SubState')}) after {timeout_s} s"
        time.sleep(POLL_S)


def log_lines(name: str, since_epoch: int) -> list[str]:
    command = ["journalctl", "--no-pager", "--output=short", f"--since=@{since_epoch}"]
    command += [f"--lines={LOG_LINES}", "--unit", name]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "text": {"type": "str", "default": ""},
            "env_file": {"type": "path", "required": True},
            "root": {"type": "path", "required": True},
            "pending": {"type": "list", "elements": "str", "default": []},
            "package": {"type": "str", "default": ""},
            "ready_timeout_s": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    name, text = module.params["name"], module.params["text"]
    if not text and is_not_there(module.params):
        module.exit_json(changed=False, reasons=[], status="")
    try:
        installation = Installation({name: text} if text else {}, absent=[])
        if not module.check_mode:
            installation.apply()
        reasons = why_restart(module.params)
        if module.check_mode:
            reasons += ["the unit file would change"] if installation.changed else []
            reasons += module.params["pending"]
        failure, started_epoch = "", int(time.time())
        if reasons and not module.check_mode:
            failure = restart(name, module.params["ready_timeout_s"])
    except UnitError as error:
        module.fail_json(msg=str(error))
    except EnvFileError as error:
        module.fail_json(msg=f"{module.params['env_file']}: {error}")
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")
    if failure:
        log = log_lines(name, started_epoch)
        message = "\n".join([f"{name} did not become ready: {failure}. Its last log lines:", *log])
        module.fail_json(msg=message, reasons=reasons, log=log)
    diff = {"before": "", "after": "".join(f"restart {name}: {reason}\n" for reason in reasons)}
    status = "" if module.check_mode else show(name).get("StatusText", "")
    changed = installation.changed or bool(reasons)
    diffs = [*installation.diff(), diff]
    module.exit_json(changed=changed, reasons=reasons, status=status, diff=diffs)


if __name__ == "__main__":
    main()
