#!/usr/bin/python
"""Choose the environment of all units at once (see DOCUMENTATION)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: quantum_environment_choice
short_description: Choose, by drop-ins, the environment that all units run on
description:
  - Writes one drop-in a unit. It resets C(EnvironmentFile=) and names the unit's own file, and then
    that of the environment, which so has the last word on who the unit is to the exchange.
  - All are on disk before systemd is told of any of them, in one reload.
  - Starts and restarts nothing. A process that was started with another choice is found by
    C(quantum_units).
options:
  chosen:
    description: By unit, the names of the files it reads, in their order.
    type: dict
    required: true
  directory:
    description: Directory of the env files.
    type: path
    default: /etc/quantum
"""

RETURN = r"""
files:
  description: Drop-ins that were, or in check mode would be, replaced.
  type: list
  returned: always
"""

UNITS = Path("/etc/systemd/system")
NAME = "50-environment.conf"
# The unit's own file stays the one that operators know and edit: the kill switch and the mode are
# in it alone. The environment's file holds nothing but who the unit is to the exchange, so that
# key, address and network never come from two different places.
TEXT = """\
# Made by the environment role: ansible/site.yml -i inventories/<environment> changes it.
[Service]
EnvironmentFile=
{files}
"""


def text_of(directory: str, names: list[str]) -> str:
    return TEXT.format(files="\n".join(f"EnvironmentFile={directory}/{name}" for name in names))


def text_at(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def replace_all(texts: dict[Path, str]) -> None:
    """Each is written beside its old one first: a full disk leaves every choice as it was."""
    written = []
    for path, text in texts.items():
        path.parent.mkdir(mode=0o755, exist_ok=True)
        temporary = path.with_name(f".{path.name}.new")
        with temporary.open("w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        written.append((temporary, path))
    for temporary, path in written:
        os.replace(temporary, path)


def needs_reload(units: list[str]) -> bool:
    """A run that was interrupted between writing and reloading leaves this behind."""
    command = ["systemctl", "show", "--property=NeedDaemonReload", "--value", *units]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "yes" in done.stdout.split()


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "chosen": {"type": "dict", "required": True},
            "directory": {"type": "path", "default": "/etc/quantum"},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    chosen = module.params["chosen"]
    wanted = {
        UNITS / f"{unit}.d" / NAME: text_of(module.params["directory"], names)
        for unit, names in chosen.items()
    }
    before = {path: text_at(path) for path in wanted}
    changed = {path: text for path, text in wanted.items() if text != before[path]}
    try:
        if not module.check_mode:
            replace_all(changed)
            if changed or needs_reload(list(chosen)):
                subprocess.run(["systemctl", "daemon-reload"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        module.fail_json(msg=f"{type(error).__name__}: {error}")
    diff = [
        {
            "before_header": str(path),
            "after_header": str(path),
            "before": before[path],
            "after": text,
        }
        for path, text in changed.items()
    ]
    module.exit_json(changed=bool(changed), files=sorted(map(str, changed)), diff=diff)


if __name__ == "__main__":
    main()
