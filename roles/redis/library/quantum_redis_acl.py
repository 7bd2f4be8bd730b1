#!/usr/bin/python
"""Ansible module: passwords and ACL file of Redis, made on the host."""

from __future__ import annotations

import contextlib
import grp
import hashlib
import os
import re
import secrets
import subprocess
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.quantum_private_files import exclusive

DOCUMENTATION = r"""
module: quantum_redis_acl
short_description: Have a random password and an ACL rule for each Redis user
description:
  - Passwords are made on the host and kept; they are neither read nor returned by Ansible.
  - The ACL file holds only their SHA-256. Users that are not named lose password and rule.
  - Waits for a rotation that is at work: whoever changes passwords holds the lock of their folder.
  - A producer whose password was rotated is let in by the one before too, until the time that the
    rotation wrote down (C(REDIS_REPLACED_<USER>=<SHA-256>:<Unix seconds>)).
options:
  users:
    description: Users, each with C(name) and C(rules), the latter in the words of ACL SETUSER.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Lower case letters, digits and underscores., type: str, required: true}
      rules: {description: Parts of the rule., type: list, elements: str, required: true}
  producers: {description: More users., type: list, elements: str, default: []}
  producer_rules: {description: Rules of each producer., type: list, elements: str, default: []}
  password_file:
    description: Written 0600 as C(REDIS_PASSWORD_<USER>=<64 hex digits>); its folder must exist.
    type: path
    required: true
  acl_file:
    description: Written 0640 for the group C(redis).
    type: path
    required: true
author: [quantum-exit]
"""

EXAMPLES = r"""
- name: Two users
  quantum_redis_acl:
    password_file: /etc/quantum/redis.env
    acl_file: /etc/redis/quantum.acl
    users:
      - {name: reader, rules: [+get, "%R~quantum:*"]}
      - {name: writer, rules: ["(+xadd ~quantum:stream:alerts)"]}
"""

RETURN = r"""
revision:
  description: Names the rules; a user C(revision-<this>), switched off, carries it into Redis.
  type: str
  returned: when not in check mode
"""

# An older server refuses a file that names a command it does not know.
SINCE_VERSION = {"+client|setinfo": (7, 2)}
# Off and without a password: nobody can be it. Its rights are for the server alone, which reads
# its append-only file as this user: without them every transaction in there would be left out,
# and the server would still start.
DEFAULT_USER = "user default off resetpass sanitize-payload ~* &* +@all"
PASSWORD = re.compile(r"[0-9a-f]{64}")
REPLACED = re.compile(r"REDIS_REPLACED_([A-Z0-9_]+)=([0-9a-f]{64}):(\d+)")


class RefusedError(Exception):
    """What is wrong and how to mend it, without any secret in it."""


def variable(user: str) -> str:
    """The name under which a user's password is kept."""
    return f"REDIS_PASSWORD_{user.upper()}"


def read_passwords(path: str) -> dict[str, str]:
    """The passwords kept so far, by variable name."""
    try:
        with open(path, encoding="utf-8") as stream:
            lines = stream.read().splitlines()
    except FileNotFoundError:
        return {}
    passwords = {}
    for number, line in enumerate(lines, start=1):
        name, _, value = line.partition("=")
        if not line.strip() or line.startswith("#") or REPLACED.fullmatch(line):
            continue
        if not PASSWORD.fullmatch(value):
            raise RefusedError(
                f"{path} line {number}: the password is not 64 hex digits; remove the line to "
                "have a new one made"
            )
        passwords[name] = value
    return passwords


def read_replaced(path: str, now_epoch: float) -> dict[str, str]:
    """Lines of passwords that were replaced and are accepted still, by user."""
    found = (REPLACED.fullmatch(line) for line in read(path).splitlines())
    return {hit[1].lower(): hit[0] for hit in found if hit and int(hit[3]) > now_epoch}


def server_version() -> tuple[int, int]:
    """Of the installed server; the newest imaginable if there is none yet."""
    try:
        said = subprocess.run(["redis-server", "--version"], capture_output=True, text=True)
    except FileNotFoundError:
        return (99, 0)
    found = re.search(r"v=(\d+)\.(\d+)", said.stdout)
    if found is None:
        raise RefusedError(f"redis-server does not tell its version: {said.stdout.strip()!r}")
    return int(found[1]), int(found[2])


def acl_text(
    users: list[dict],
    passwords: dict[str, str],
    version: tuple[int, int],
    replaced: dict[str, str] | None = None,
) -> tuple[str, str]:
    """The ACL file and its revision."""
    unknown = {word for word, since in SINCE_VERSION.items() if version < since}
    lines = [DEFAULT_USER]
    for user in users:
        rules = " ".join(word for word in " ".join(user["rules"]).split() if word not in unknown)
        digest = hashlib.sha256(passwords[variable(user["name"])].encode()).hexdigest()
        if before := REPLACED.fullmatch((replaced or {}).get(user["name"], "")):
            digest = f"{digest} #{before[2]}"
        lines.append(f"user {user['name']} on #{digest} sanitize-payload resetchannels {rules}")
    revision = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    lines.append(f"user revision-{revision} off sanitize-payload resetchannels -@all")
    return "\n".join(lines) + "\n", revision


def without_hashes(text: str) -> str:
    """The ACL file as it may be shown."""
    return re.sub(r"#[0-9a-f]{64}", "#(hash)", text)


def read(path: str) -> str:
    """The file's text, empty if there is none."""
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except FileNotFoundError:
        return ""


def is_as_wanted(path: str, text: str, mode: int, gid: int) -> bool:
    """True if the file has this text, mode and group, and belongs to root."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return False
    permissions = (found.st_mode & 0o7777, found.st_uid, found.st_gid)
    return permissions == (mode, 0, gid) and read(path) == text


def replace(path: str, text: str, mode: int, gid: int) -> None:
    """Replace the file in one step; it is never readable by anyone else, not for a moment.

    Its new one has a name of its own: one that a killed run left is overwritten, not kept for ever.
    """
    fresh = os.path.join(os.path.dirname(path), f".new-{os.path.basename(path)}")
    Path(fresh).unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fchown(stream.fileno(), 0, gid)
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        os.replace(fresh, path)
    except BaseException:
        os.unlink(fresh)
        raise


def apply(module: AnsibleModule) -> dict:
    """Compare, and write what differs unless in check mode."""
    rules = module.params["producer_rules"]
    producers = [{"name": name, "rules": rules} for name in module.params["producers"]]
    users = module.params["users"] + producers
    env_path, acl_path = module.params["password_file"], module.params["acl_file"]
    kept = read_passwords(env_path)
    names = [variable(user["name"]) for user in users]
    passwords = {name: kept.get(name) or secrets.token_hex(32) for name in names}
    env = "".join(f"{name}={passwords[name]}\n" for name in names)
    replaced = read_replaced(env_path, time.time())
    env += "".join(f"{line}\n" for user, line in replaced.items() if variable(user) in names)
    acl, revision = acl_text(users, passwords, server_version(), replaced)
    try:
        redis_gid = grp.getgrnam("redis").gr_gid
    except KeyError:
        if not module.check_mode:
            raise RefusedError("there is no group redis: install redis-server first") from None
        redis_gid = -1
    env_differs = not is_as_wanted(env_path, env, 0o600, 0)
    acl_differs = not is_as_wanted(acl_path, acl, 0o640, redis_gid)
    result = {
        "changed": env_differs or acl_differs,
        "diff": [
            {
                "before_header": env_path,
                "after_header": env_path,
                "before": "".join(f"{name}=(secret)\n" for name in kept),
                "after": "".join(f"{name}=(secret)\n" for name in names),
            },
            {
                "before_header": acl_path,
                "after_header": acl_path,
                "before": without_hashes(read(acl_path)),
                "after": without_hashes(acl),
            },
        ],
    }
    if module.check_mode:
        return result
    # Passwords first: rules for passwords that nobody has would lock everybody out.
    if env_differs:
        replace(env_path, env, 0o600, 0)
    if acl_differs:
        replace(acl_path, acl, 0o640, redis_gid)
    return {**result, "revision": revision}


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "users": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "rules": {"type": "list", "elements": "str", "required": True},
                },
            },
            "producers": {"type": "list", "elements": "str", "default": []},
            "producer_rules": {"type": "list", "elements": "str", "default": []},
            # The name of a file, not its content.
            "password_file": {"type": "path", "required": True, "no_log": False},
            "acl_file": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    folder = Path(module.params["password_file"]).parent
    try:
        with exclusive(folder) if folder.is_dir() else contextlib.nullcontext():
            result = apply(module)
    except RefusedError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
