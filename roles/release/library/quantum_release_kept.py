#!/usr/bin/python
"""Find a release on a host (see DOCUMENTATION)."""

from __future__ import annotations

import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: quantum_release_kept
short_description: Find one of the releases that a host has kept
description:
  - Only looks. Fails when there is no such release, and lists those that are kept.
options:
  root:
    description: Directory that holds C(releases/), C(current) and C(previous).
    type: path
    required: true
  version:
    description: The release; empty for the previous one.
    type: str
    default: ""
"""

RETURN = r"""
version:
  description: The release.
  type: str
  returned: always
kept:
  description: All releases of the host, newest first.
  type: list
  returned: always
"""


def pointed_at(link: Path) -> str:
    return os.path.basename(os.readlink(link)) if link.is_symlink() else ""


def described(kept: list[str], current: str, previous: str) -> str:
    """The list for a person: which is current, which is the previous one."""
    words = {current: " (current)", previous: " (previous)"}
    return ", ".join(f"{name}{words.get(name, '')}" for name in kept) or "none"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "version": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    root = Path(module.params["root"])
    current, previous = pointed_at(root / "current"), pointed_at(root / "previous")
    installed = [path for path in (root / "releases").glob("[!.]*") if path.is_dir()]
    installed.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    kept = [path.name for path in installed]
    version = module.params["version"] or previous
    if version not in kept:
        fault = f"there is no release {version} on this host" if version else "none was before it"
        listed = described(kept, current, previous)
        module.fail_json(msg=f"{fault}; kept are: {listed}", kept=kept)
    module.exit_json(changed=False, version=version, kept=kept)


if __name__ == "__main__":
    main()
