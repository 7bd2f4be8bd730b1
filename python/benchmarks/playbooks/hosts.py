"""Sandbox hosts of the benchmark's own, and playbooks run against them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / ".cache" / "benchmark"
SSH_CONFIG = ROOT / ".quantum" / "ssh_config"
TOOLS = Path(sys.executable).parent

INVENTORY = """\
all:
  children:
    quantum:
      children:
        sandboxes:
          hosts:
            {name}:
          vars:
            ansible_user: root
            ansible_ssh_common_args: >-
              -F '{ssh_config}' -o ControlPath=/run/quantum-bench-%C
"""


class BenchmarkError(Exception):
    """A step did not do what was to be timed."""


@dataclass(frozen=True)
class Ran:
    """A command that ended well. `tasks`: how many of Ansible's were done on the host."""

    took_s: float
    text: str

    def count(self, name: str) -> int:
        found = re.findall(rf"\b{name}=(\d+)", self.text)
        return sum(int(number) for number in found)

    @property
    def tasks(self) -> int:
        return self.count("ok")

    @property
    def changed(self) -> int:
        return self.count("changed")


class Host:
    """Booted by `boot`, removed by `remove`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._folder = FOLDER / name
        self._folder.mkdir(parents=True, exist_ok=True)
        variables = self._folder / "group_vars"
        if not variables.is_symlink():
            variables.symlink_to(ROOT / "inventories" / "sandbox" / "group_vars")
        self.inventory = self._folder / "hosts.yml"
        self.inventory.write_text(INVENTORY.format(name=name, ssh_config=SSH_CONFIG))

    def playbook(self, path: Path | str, *arguments: str) -> Ran:
        """Wall time from the command to the prompt, start of Ansible included."""
        file = path if isinstance(path, Path) else ROOT / "ansible" / path
        command = [TOOLS / "ansible-playbook", "-i", self.inventory, file, *arguments]
        return self._run([str(word) for word in command])

    def boot(self) -> Ran:
        return self.playbook("sandbox.yml")

    def remove(self) -> None:
        self.playbook("sandbox.yml", "-e", "sandbox_host_state=absent")

    def ssh(self, command: str, stdin: str = "") -> Ran:
        return self._run(["ssh", "-F", str(SSH_CONFIG), self.name, command], stdin)

    def _run(self, command: list[str], stdin: str = "") -> Ran:
        path = f"{TOOLS}:{os.environ['PATH']}"
        environ = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "LC_ALL": "C.UTF-8",
            "NO_COLOR": "1",
            "PATH": path,
        }
        began = time.monotonic()
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, check=False, cwd=ROOT, env=environ
        )
        took_s = time.monotonic() - began
        if done.returncode != 0:
            raise BenchmarkError(f"{' '.join(command)}:\n{(done.stdout + done.stderr)[-3000:]}")
        return Ran(took_s, done.stdout)
