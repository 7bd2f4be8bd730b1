#!/usr/bin/python
"""Run a oneshot unit to its end (see DOCUMENTATION)."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.quantum_oneshot import OneshotError, diff, run_to_its_end, why_run

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


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "files": {"type": "list", "elements": "path", "required": True},
        },
        supports_check_mode=True,
    )
    name = module.params["name"]
    reason = why_run(name, module.params["files"])
    if reason and not module.check_mode:
        try:
            run_to_its_end(name)
        except OneshotError as error:
            module.fail_json(msg=str(error))
    module.exit_json(changed=bool(reason), reason=reason, diff=diff(name, reason))


if __name__ == "__main__":
    main()
