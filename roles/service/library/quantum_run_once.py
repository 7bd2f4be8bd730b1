#!/usr/bin/python
"""Run a oneshot unit to its end (see DOCUMENTATION)."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: quantum_run_once
short_description: Run a oneshot unit to its end, if it has not seen the files as they are
description:
  - Runs the unit if it has not run since the boot, if its last run failed, or if one of the files
    is newer than its last run. Waits for its end. If it failed, fails with its log lines.
options:
  name:
    description: The unit.
    type: str
    required: true
  files:
    description: What the unit reads.
    type: list
    elements: path
    required: true
"""

RETURN = r"""
reason:
  description: Why it was run; empty if it was not.
  type: str
  returned: always
"""


def run(*command: str) -> tuple[int, str]:
    done = subprocess.run(list(command), capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.strip()


def why_run(name: str, files: list[str]) -> str:
    properties = "--property=ExecMainStartTimestamp,Result"
    shown = run("systemctl", "show", "--timestamp=unix", properties, name)[1]
    said = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    started = said.get("ExecMainStartTimestamp", "").lstrip("@")
    if not started.isdigit():
        return "it has not run since the boot"
    if said.get("Result") != "success":
        return f"its last run ended with {said.get('Result')}"
    # Whole seconds: what was written in the very second of the last run counts as newer.
    newer = [path for path in files if Path(path).stat().st_mtime >= int(started)]
    return f"{newer[0]} is newer than its last run" if newer else ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "files": {"type": "list", "elements": "path", "required": True},
        },
        supports_check_mode=True,
    )
    name = module.params["name"]
    try:
        reason = why_run(name, module.params["files"])
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}"
    start = reason and not module.check_mode
    if start and run("systemctl", "start", name)[0] != 0:
        invocation = run("systemctl", "show", "--property=InvocationID", "--value", name)[1]
        query = f"_SYSTEMD_INVOCATION_ID={invocation}"
        log = run("journalctl", "--no-pager", "--output=cat", "--lines=30", query)[1]
        module.fail_json(msg=f"{name} failed. Its log lines:\n{log}")
    diff = {"before": "", "after": f"run {name}: {reason}\n" if reason else ""}
    module.exit_json(changed=bool(reason), reason=reason, diff=diff)


if __name__ == "__main__":
    main()
