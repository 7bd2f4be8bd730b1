#!/usr/bin/python
"""Install unit files (see DOCUMENTATION)."""

from __future__ import annotations

import os

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.quantum_oneshot import OneshotError, diff, run_to_its_end, why_run
from ansible.module_utils.quantum_unit_files import Installation, UnitError

DOCUMENTATION = r"""
module: quantum_units
short_description: Install unit files, checked before they are in place
description:
  - Has systemd check all files together, under their own names, before any is replaced.
  - C(@FINGERPRINT@) in a file becomes a hash of the file, which a process then carries in its
    environment. That is how C(quantum_service) tells which file it was started from.
  - Enables what has an [Install] section, and starts timers. Services are left to
    C(quantum_service).
options:
  units:
    description: Text of each unit file by its name.
    type: dict
    required: true
  absent:
    description: Names of unit files to stop, disable and remove.
    type: list
    elements: str
    default: []
  run_once:
    description:
      - Of each oneshot unit that is run now, the files that it reads. It is run as
        C(quantum_run_once) does it, once all units are in place.
    type: dict
    default: {}
"""

RETURN = r"""
installed:
  description: Names of the files that were replaced.
  type: list
  returned: always
reasons:
  description: Why each unit of C(run_once) was run; empty for one that was not.
  type: dict
  returned: always
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "dict", "required": True},
            "absent": {"type": "list", "elements": "str", "default": []},
            "run_once": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    installation = Installation(module.params["units"], module.params["absent"])
    reasons: dict[str, str] = {}
    try:
        if not module.check_mode:
            installation.apply()
        for name, files in module.params["run_once"].items():
            reasons[name] = why_run(name, files)
            if reasons[name] and not module.check_mode:
                run_to_its_end(name)
    except (UnitError, OneshotError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")
    module.exit_json(
        changed=installation.changed or any(reasons.values()),
        installed=sorted(installation.to_write),
        reasons=reasons,
        diff=[*installation.diff(), *(diff(name, why) for name, why in reasons.items())],
    )


if __name__ == "__main__":
    main()
