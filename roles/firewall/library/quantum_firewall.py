#!/usr/bin/python
"""Load packet filter rules that the host takes back unless they are confirmed."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: quantum_firewall
short_description: Load packet filter rules that the host takes back unless they are confirmed
description:
  - C(tried) compares table C(inet quantum), the file, and the unit with what is wanted. What
    differs is loaded for C(hold_s) seconds; then a timer of the host loads what was there before.
  - C(kept), which comes by a new connection, stops that timer and makes the rules survive a boot.
  - C(@SSH_PORTS@) in the rules becomes every port that sshd listens on, or that we came by.
options:
  state: {description: What to do., type: str, choices: [tried, kept], required: true}
  rules: {description: Text for nft. Empty removes table file and unit., type: str, default: ""}
  unit_text: {description: Unit that loads the file at boot., type: str, default: ""}
  file: {description: Where the rules lie., type: path, required: true}
  unit: {description: Name of the unit., type: str, required: true}
  ssh_port: {description: Port that must stay open in any case., type: int, default: 22}
  hold_s: {description: How long unconfirmed rules stay., type: int, default: 45}
"""

RETURN = r"""
reasons:
  description: What differed.
  type: list
  returned: for tried
"""

TABLE = ("inet", "quantum")
UNDO = "quantum-firewall-undo"
UNITS = Path("/etc/systemd/system")


class FirewallError(Exception):
    """What is wrong."""


def run(*words: str, text: str = "", check: bool = True) -> str:
    """The command's output; empty if it failed and that is no error."""
    try:
        done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise FirewallError(f"{words[0]} is missing") from None
    if done.returncode != 0:
        if check:
            raise FirewallError(f"{' '.join(words)}: {(done.stderr or done.stdout).strip()}")
        return ""
    return done.stdout


def loaded() -> str:
    """The table as it is now; empty if there is none."""
    return run("nft", "--stateless", "list", "table", *TABLE, check=False)


def as_loaded(rules: str) -> str:
    """The rules as the kernel would list them: tried in a network of their own. Raises if wrong."""
    script = f"nft --file - && nft --stateless list table {' '.join(TABLE)}"
    try:
        return run("unshare", "--net", "sh", "-c", script, text=rules)
    except FirewallError as error:
        hint = "a host without nftables needs firewall_profile=off"
        raise FirewallError(f"the rules cannot be loaded ({hint}): {error}") from None


def ports_of_sshd() -> set[int]:
    said = run("/usr/sbin/sshd", "-T", check=False) if Path("/usr/sbin/sshd").exists() else ""
    ports = {int(port) for port in re.findall(r"(?m)^port (\d+)$", said)}
    listens = run("systemctl", "show", "ssh.socket", "--property=Listen", check=False)
    return ports | {int(port) for port in re.findall(r":(\d+) \(Stream\)", listens)}


def port_of_this_connection() -> set[int]:
    """By the environment of whoever started us: sudo has removed it from our own."""
    pid = os.getpid()
    while pid > 1:
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            found = [word for word in words if word.startswith(b"SSH_CONNECTION=")]
            if found:
                return {int(found[0].split()[-1])}
        try:
            status = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            break
        pid = int(status.rpartition(")")[2].split()[1])
    return set()


def text_at(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def replace(path: Path, text: str) -> None:
    descriptor, fresh = tempfile.mkstemp(dir=path.parent, prefix=".quantum-")
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        os.fchmod(stream.fileno(), 0o644)
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(fresh, path)


class Firewall:
    """The rules as they are and as they should be."""

    def __init__(self, parameters: dict) -> None:
        ports = {parameters["ssh_port"]} | ports_of_sshd() | port_of_this_connection()
        listed = ", ".join(str(port) for port in sorted(ports))
        self.rules = parameters["rules"].replace("@SSH_PORTS@", listed)
        self.file = Path(parameters["file"])
        self.next = self.file.with_name(f"{self.file.name}.next")
        self.unit = parameters["unit"]
        self.unit_path = UNITS / self.unit
        self.unit_text = parameters["unit_text"] if self.rules else ""
        self.hold_s = parameters["hold_s"]
        self.before = text_at(self.file)

    def reasons(self) -> list[str]:
        found = []
        if self.before != self.rules:
            found.append(f"{self.file} differs")
        if text_at(self.unit_path) != self.unit_text:
            found.append(f"{self.unit_path} differs")
        wanted = as_loaded(self.rules) if self.rules else ""
        if loaded() != wanted:
            found.append("what is loaded differs")
        if self.rules and not run("systemctl", "is-enabled", self.unit, check=False):
            found.append(f"{self.unit} is not enabled")
        return found

    def try_for_a_while(self) -> None:
        """The way back first, then the rules."""
        as_loaded(self.rules or f"table {' '.join(TABLE)}")
        back = f"nft --file {self.file}" if self.before else f"nft delete table {' '.join(TABLE)}"
        self.stop_undo()
        replace(self.next, self.rules + "\n#unit\n" + self.unit_text)
        undo = f"{back}; rm -f {self.next}"
        seconds = f"--on-active={self.hold_s}"
        run("systemd-run", f"--unit={UNDO}", seconds, "--timer-property=AccuracySec=1s",
            "sh", "-c", undo)  # fmt: skip
        if self.rules:
            run("nft", "--file", "-", text=self.rules)
        else:
            run("nft", "delete", "table", *TABLE, check=False)

    def stop_undo(self) -> None:
        for unit in (f"{UNDO}.timer", f"{UNDO}.service"):
            run("systemctl", "stop", unit, check=False)
            run("systemctl", "reset-failed", unit, check=False)

    def keep(self) -> None:
        """The timer first: from here on nothing is taken back."""
        self.stop_undo()
        if not self.next.exists():
            raise FirewallError("the rules were taken back before this came through: run it again")
        rules, _, unit_text = text_at(self.next).partition("\n#unit\n")
        if rules:
            replace(self.file, rules)
            replace(self.unit_path, unit_text)
            run("systemctl", "daemon-reload")
            run("systemctl", "reenable", self.unit)
            run("systemctl", "reload-or-restart", self.unit)
        else:
            run("systemctl", "disable", "--now", self.unit, check=False)
            self.file.unlink(missing_ok=True)
            self.unit_path.unlink(missing_ok=True)
            run("systemctl", "daemon-reload")
        self.next.unlink()


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["tried", "kept"], "required": True},
            "rules": {"type": "str", "default": ""},
            "unit_text": {"type": "str", "default": ""},
            "file": {"type": "path", "required": True},
            "unit": {"type": "str", "required": True},
            "ssh_port": {"type": "int", "default": 22},
            "hold_s": {"type": "int", "default": 45},
        },
        supports_check_mode=True,
    )
    try:
        firewall = Firewall(module.params)
        if module.params["state"] == "kept":
            firewall.keep()
            module.exit_json(changed=True)
        bare = module.check_mode and not Path("/usr/sbin/nft").exists()
        reasons = ["nft is not installed yet"] if bare else firewall.reasons()
        if reasons and not module.check_mode:
            firewall.try_for_a_while()
    except FirewallError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")
    name = str(firewall.file)
    diff = {
        "before_header": name,
        "after_header": name,
        "before": firewall.before,
        "after": firewall.rules,
    }
    module.exit_json(changed=bool(reasons), reasons=reasons, diff=diff)


if __name__ == "__main__":
    main()
