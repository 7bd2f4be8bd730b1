#!/usr/bin/python
"""Install unit files (see DOCUMENTATION)."""

from __future__ import annotations

import os

from ansible.module_utils.basic import AnsibleModule
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
"""

RETURN = r"""
installed:
  description: Names of the files that were replaced.
  type: list
  returned: always
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "dict", "required": True},
            "absent": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    installation = Installation(module.params["units"], module.params["absent"])
    try:
        if not module.check_mode:
            installation.apply()
    except UnitError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")
    module.exit_json(
        changed=installation.changed,
        installed=sorted(installation.to_write),
        diff=installation.diff(),
    )


if __name__ == "__main__":
    main()
