#!/usr/bin/python
"""Install units, and run what lies on disk (see DOCUMENTATION)."""

from __future__ import annotations

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.quantum_envfile import EnvFileError
from ansible.module_utils.quantum_oneshot import OneshotError, run_to_its_end, why_run
from ansible.module_utils.quantum_running import (
    is_not_there,
    log_lines,
    restart,
    show,
    why_restart,
)
from ansible.module_utils.quantum_unit_files import Installation, UnitError

DOCUMENTATION = r"""
module: quantum_units
short_description: Install unit files, and make services run what lies on disk
description:
  - Has systemd check all files together, under their own names, before any is replaced.
  - C(@FINGERPRINT@) in a file becomes a hash of the file, which a process then carries in its
    environment. That tells which file it was started from.
  - Then, one service after another, asks the running process itself (its command line and
    environment in C(/proc)) and restarts the service if it differs from the disk or does not run.
    So a play that died between writing and restarting is made up for by the next one.
  - Waits until a service reports that it is ready before it looks at the next. If it does not,
    fails with its last log lines.
  - Last, starts timers, and runs what is to be run once.
options:
  units:
    description: Text of each unit file by its name. With an [Install] section it is enabled.
    type: dict
    default: {}
  absent:
    description: Names of unit files to stop, disable and remove.
    type: list
    elements: str
    default: []
  services:
    description: Services to run, in this order.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The unit.
        type: str
        required: true
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
  run_once:
    description:
      - Of each oneshot unit that is run now, the files that it reads. It is run as
        C(quantum_run_once) does it, once all units are in place.
    type: dict
    default: {}
"""

RETURN = r"""
reasons:
  description: >-
    What was, or in check mode would be, installed, restarted and run, and why. Names, never values.
  type: list
  returned: always
statuses:
  description: What each service says of itself. Empty in check mode.
  type: dict
  returned: success
"""

SERVICE = {
    "name": {"type": "str", "required": True},
    "env_file": {"type": "path", "required": True},
    "root": {"type": "path", "required": True},
    "pending": {"type": "list", "elements": "str", "default": []},
    "package": {"type": "str", "default": ""},
    "ready_timeout_s": {"type": "int", "default": 30},
}


class NotReadyError(Exception):
    """A service did not become ready; with its log lines."""


class Deployment:
    """The units as they should be, and what runs."""

    def __init__(self, parameters: dict, check_mode: bool) -> None:
        self._parameters = parameters
        self._check_mode = check_mode
        self._installation = Installation(parameters["units"], parameters["absent"])
        self.reasons = [f"{name}: {why}" for name, why in self._installation.reasons()]
        self.diff = self._installation.diff()
        self.statuses: dict[str, str] = {}

    def apply(self) -> None:
        """Do it, or in check mode only find out what there is to do."""
        if not self._check_mode:
            self._installation.install()
        for service in self._parameters["services"]:
            # One that is being installed has a text here, and needs no release to have it.
            if service["name"] in self._parameters["units"] or not is_not_there(service):
                self._run(service)
        if not self._check_mode:
            self._installation.start_timers()
        for name, files in self._parameters["run_once"].items():
            reason = why_run(name, files)
            self._note("run", name, [reason] if reason else [])
            if reason and not self._check_mode:
                run_to_its_end(name)

    def _run(self, service: dict) -> None:
        name = service["name"]
        state = show(name)
        try:
            # In check mode it may not lie there yet.
            reasons = why_restart(service, state, self._installation.texts.get(name, ""))
        except EnvFileError as error:
            raise EnvFileError(f"{service['env_file']}: {error}") from None
        if self._check_mode:
            reasons += service["pending"]
        self._note("restart", name, reasons)
        if self._check_mode:
            return
        if reasons:
            started_epoch = int(time.time())
            if failure := restart(name, service["ready_timeout_s"]):
                told = f"{name} did not become ready: {failure}. Its last log lines:"
                raise NotReadyError("\n".join([told, *log_lines(name, started_epoch)]))
            state = show(name)
        self.statuses[name] = state.get("StatusText", "")

    def _note(self, verb: str, name: str, reasons: list[str]) -> None:
        self.reasons += [f"{name}: {reason}" for reason in reasons]
        after = "".join(f"{verb} {name}: {reason}\n" for reason in reasons)
        self.diff.append({"before": "", "after": after})


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "dict", "default": {}},
            "absent": {"type": "list", "elements": "str", "default": []},
            "services": {"type": "list", "elements": "dict", "default": [], "options": SERVICE},
            "run_once": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    reasons: list[str] = []
    try:
        deployment = Deployment(module.params, module.check_mode)
        reasons = deployment.reasons
        deployment.apply()
    except (UnitError, OneshotError, NotReadyError, EnvFileError) as error:
        module.fail_json(msg=str(error), reasons=reasons)
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}", reasons=reasons)
    module.exit_json(
        changed=bool(reasons), reasons=reasons, statuses=deployment.statuses, diff=deployment.diff
    )


if __name__ == "__main__":
    main()
