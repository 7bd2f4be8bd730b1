#!/usr/bin/python
"""System users, folders and plain files of a host, in one look (see DOCUMENTATION)."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import subprocess
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.quantum_oneshot import why_run

DOCUMENTATION = r"""
module: quantum_base
short_description: Have system users, folders and plain files, in one look
description:
  - Does what a loop of C(user), C(file) and C(template) would do, in one call of the host. The
    second run of a deployment is mostly the time of such calls.
  - Folders and files belong to root, but those that a service writes. A file is checked before it
    is in place, and replaced in one step. Nothing in it is secret; its diff is shown.
options:
  users:
    description: Users who cannot log in, without a home and a password.
    type: list
    elements: str
    default: []
  folders:
    description: Mode (in octal) of each folder by its path.
    type: dict
    default: {}
  files:
    description: Text of each file by its path. Empty removes the file.
    type: dict
    default: {}
  written_by:
    description:
      - Owner of each file that a service writes and cannot make, by its path. It is made empty if
        it is missing, for the group adm to read; its content is left alone.
    type: dict
    default: {}
  mode:
    description: Mode of the files, in octal.
    type: str
    default: "0644"
  checks:
    description: Command that checks a file, by the file's path; C(%s) is the file to check.
    type: dict
    default: {}
  restarts:
    description:
      - By unit, those of the files that its process reads when it starts. It is restarted if it was
        started before one of them was written, also by a run that died before it came to that.
    type: dict
    default: {}
"""

RETURN = r"""
files:
  description: Paths and names of what was, or in check mode would be, changed.
  type: list
  returned: always
"""

SHELL, HOME = "/usr/sbin/nologin", "/nonexistent"
SHADOW = Path("/etc/shadow")
READERS, WRITTEN_MODE = "adm", 0o640  # as Debian keeps its logs


class BaseError(Exception):
    """What is wrong."""


def run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BaseError(f"{' '.join(words)}: {(done.stderr or done.stdout).strip()}")


def has_password(name: str) -> bool:
    lines = SHADOW.read_text(encoding="utf-8").splitlines()
    words = next((line.split(":") for line in lines if line.startswith(f"{name}:")), [name, "!"])
    return not words[1].startswith(("!", "*"))


def commands_for_user(name: str) -> list[list[str]]:
    """What makes the user as it should be; nothing if it is."""
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        make = ["useradd", "--system", "--user-group", "--shell", SHELL, "--home-dir", HOME]
        return [[*make, "--no-create-home", name]]
    commands = []
    if (user.pw_shell, user.pw_dir) != (SHELL, HOME):
        commands.append(["usermod", "--shell", SHELL, "--home", HOME, name])
    if has_password(name):
        commands.append(["usermod", "--password", "!", name])
    return commands


def is_as_wanted(path: Path, mode: int) -> bool:
    """Whether it is root's, with this mode."""
    found = path.lstat()
    return (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (mode, 0, 0)


def make_folder(path: Path, mode: int) -> None:
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    os.chown(path, 0, 0)
    path.chmod(mode)


def is_written_by(path: Path, user: str) -> bool:
    try:
        found, wanted = path.lstat(), (pwd.getpwnam(user).pw_uid, grp.getgrnam(READERS).gr_gid)
    except (FileNotFoundError, KeyError):
        return False
    kind, mode = stat.S_ISREG(found.st_mode), stat.S_IMODE(found.st_mode)
    return kind and (mode, found.st_uid, found.st_gid) == (WRITTEN_MODE, *wanted)


def make_writable(path: Path, user: str) -> None:
    """Through no link: the folder is root's, but what lies there may be older than that."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, WRITTEN_MODE)
    try:
        os.fchown(descriptor, pwd.getpwnam(user).pw_uid, grp.getgrnam(READERS).gr_gid)
        os.fchmod(descriptor, WRITTEN_MODE)
    finally:
        os.close(descriptor)


def replace(path: Path, text: str, mode: int, check: str) -> None:
    descriptor, fresh = tempfile.mkstemp(dir=path.parent, prefix=".quantum-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fchown(stream.fileno(), 0, 0)
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        if check:
            run(*(word.replace("%s", fresh) for word in check.split()))
        os.replace(fresh, path)
    except BaseException:
        os.unlink(fresh)
        raise


def text_at(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


class Base:
    """What differs between a host as it is and as it should be."""

    def __init__(self, parameters: dict) -> None:
        self.checks = parameters["checks"]
        self.users = {name: commands_for_user(name) for name in parameters["users"]}
        modes = {Path(path): int(str(mode), 8) for path, mode in parameters["folders"].items()}
        self.folders = {
            path: mode
            for path, mode in modes.items()
            if not path.is_dir() or not is_as_wanted(path, mode)
        }
        self.mode = int(parameters["mode"], 8)
        written_by = {Path(path): user for path, user in parameters["written_by"].items()}
        self.written = {p: user for p, user in written_by.items() if not is_written_by(p, user)}
        self.texts = {Path(path): text for path, text in parameters["files"].items()}
        self.before = {path: text_at(path) for path in self.texts}
        self.files = [path for path, text in self.texts.items() if self.differs(path, text)]
        self.restarts = {
            unit: self.why_restart(unit, f) for unit, f in parameters["restarts"].items()
        }

    def differs(self, path: Path, text: str) -> bool:
        if not text:
            return path.exists()
        return self.before[path] != text or not is_as_wanted(path, self.mode)

    def why_restart(self, unit: str, files: list[str]) -> str:
        """Empty if it is not to be. What was written once and is gone now cannot be told."""
        pending = [path for path in files if Path(path) in self.files]
        return (
            f"{pending[0]} changes"
            if pending
            else why_run(unit, [f for f in files if Path(f).exists()])
        )

    def changes(self) -> list[str]:
        names = [name for name, commands in self.users.items() if commands]
        units = [unit for unit, why in self.restarts.items() if why]
        return [*names, *map(str, (*self.folders, *self.files, *self.written)), *units]

    def diff(self) -> list[dict[str, str]]:
        def entry(name: str, before: str, after: str) -> dict[str, str]:
            return {
                "before_header": name,
                "after_header": name,
                "before": before,
                "after": after,
            }

        users = [
            entry(name, "", "".join(f"{' '.join(words)}\n" for words in commands))
            for name, commands in self.users.items()
            if commands
        ]
        folders = [entry(str(p), "", f"folder {mode:04o}\n") for p, mode in self.folders.items()]
        files = [entry(str(path), self.before[path], self.texts[path]) for path in self.files]
        written = [entry(str(p), "", f"written by {user}\n") for p, user in self.written.items()]
        restarts = [
            {"before": "", "after": f"restart {unit}: {why}\n"}
            for unit, why in self.restarts.items()
            if why
        ]
        return [*users, *folders, *files, *written, *restarts]

    def apply(self) -> None:
        for commands in self.users.values():
            for words in commands:
                run(*words)
        for path, mode in self.folders.items():
            make_folder(path, mode)
        for path in self.files:
            if self.texts[path]:
                replace(path, self.texts[path], self.mode, self.checks.get(str(path), ""))
            else:
                path.unlink()
        for path, user in self.written.items():
            make_writable(path, user)
        for unit, why in self.restarts.items():
            if why:
                run("systemctl", "restart", unit)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "users": {"type": "list", "elements": "str", "default": []},
            "folders": {"type": "dict", "default": {}},
            "files": {"type": "dict", "default": {}},
            "written_by": {"type": "dict", "default": {}},
            "mode": {"type": "str", "default": "0644"},
            "checks": {"type": "dict", "default": {}},
            "restarts": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    try:
        base = Base(module.params)
        if not module.check_mode:
            base.apply()
    except BaseError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")
    names = base.changes()
    module.exit_json(changed=bool(names), files=names, diff=base.diff())


if __name__ == "__main__":
    main()
