#!/usr/bin/python
"""Keep what a host runs while it works, and put it back (see DOCUMENTATION)."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.quantum_at_work import AT_WORK_S, at_work, read_point
from ansible.module_utils.quantum_envfile import EnvFileError, parse, render
from ansible.module_utils.quantum_exitctl import (
    BRAIN_ENV,
    NONE,
    UNKNOWN,
    host_state,
    prove,
    works,
)
from ansible.module_utils.quantum_kept_point import drop_point, own_point, write_point
from ansible.module_utils.quantum_private_files import exclusive, replace_all
from ansible.module_utils.quantum_running import show, why_restart

DOCUMENTATION = r"""
module: quantum_safe_point
short_description: Keep what a host runs before a deployment, and put it back
description:
  - C(note) says whether the host is live, shadow or killed and whether its proof passes. If it
    does, the links to the releases, the derived env files, the units, the policy and the
    configuration of Redis are kept in one file that root alone may read.
  - What an interrupted deployment kept is used again as long as the sources of the credentials are
    the same, and the host does not work or runs something else than what lies on disk. What was
    written and never run is nothing to go back to.
  - C(note) refuses a host on which another deployment is at work, which it knows by that one's
    connection.
  - C(go_back) puts all of it back. An env file whose kill switch has been engaged meanwhile keeps
    it. Nothing is restarted. It fails if another deployment has begun or ended meanwhile.
  - C(quantum_proof) forgets it.
  - Sources of credentials (C(testnet.env) and its like) are never put back. Whoever changes one, a
    person or the rotation, does so on purpose, and a deployment changes none. The one thing it does
    to them is to drop the Redis password of a producer that is not named any more, together with
    its rule; both come back.
options:
  operation:
    description: What to do.
    type: str
    choices: [note, go_back]
    required: true
  holder:
    description: What C(note) has returned as such, for C(go_back).
    type: str
    default: ""
"""

RETURN = r"""
state:
  description: none, unknown, live, shadow or killed.
  type: str
  returned: for note
verdicts:
  description: Exit status of each proof by its name; empty if none was run.
  type: dict
  returned: for note
release:
  description: Version that is current.
  type: str
  returned: for note
kept:
  description: Whether there is something to go back to.
  type: bool
  returned: for note
holder:
  description: Id of this deployment; empty if nothing was kept.
  type: str
  returned: for note
restored:
  description: Paths that were put back or removed.
  type: list
  returned: for go_back
redis:
  description: Whether something of Redis was put back.
  type: bool
  returned: for go_back
units:
  description: Names of the units there are now.
  type: list
  returned: for go_back
"""

SECRETS = Path("/etc/quantum")
SOURCES = ("testnet.env", "mainnet.env", "redis.env", "signing.env")
# A deployment may add variables to these, and drop some of the first.
MADE_HERE = ("redis.env", "signing.env")
PASSWORDS = MADE_HERE[0]
UNIT_DIRECTORY = Path("/etc/systemd/system")
UNITS = (
    "quantum-*.service",
    "quantum-*.timer",
    "exitbrain-proof.*",
    "quantum-*.d/*.conf",
    "exitbrain-proof.*.d/*.conf",
)
REDIS = (
    Path("/etc/redis/quantum.conf"),
    Path("/etc/redis/quantum.acl"),
    UNIT_DIRECTORY / "redis-server.service.d/quantum.conf",
)
ROOTS = (Path("/opt/quantum"), Path("/opt/quantum/paper"))
LINKS = tuple(root / name for root in ROOTS for name in ("current", "previous"))
KILL_SWITCH = "EXIT_EXECUTOR_KILL_SWITCH"
# By unit, those that trade or decide. The brain is the last of them to be restarted, and with it
# the mode of the host changes.
RUNNING = {
    "quantum-position-state-brain.service": "position-state-brain.env",
    "quantum-intent-executor.service": "intent-executor.env",
    "quantum-apply-layer.service": "apply-layer.env",
    "quantum-exitbrain-v35.service": "exitbrain-v35.env",
}
# Who reads it.
SWITCHED = (BRAIN_ENV.name, "intent-executor.env")
OFF_WORDS = {"false", "0", "no", "off", "disabled"}


def systemctl(*words: str, check: bool = True) -> None:
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise OSError(done.returncode, f"systemctl {' '.join(words)}: {done.stderr.strip()}")


def files() -> list[Path]:
    """Everything that a deployment derives or renders, as it is there now."""
    env = [path for path in SECRETS.glob("[!.]*.env") if path.name not in SOURCES]
    units = [path for pattern in UNITS for path in UNIT_DIRECTORY.glob(pattern)]
    others = [SECRETS / "policy.yml", *REDIS]
    found = [*env, *units, *(path for path in others if path.exists())]
    return sorted(path for path in found if path.is_file() and not path.is_symlink())


def variables(path: Path) -> dict[str, str]:
    """Of an env file; all of one that cannot be read counts as one variable."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    try:
        return parse(text)
    except EnvFileError:
        return {"": text}


def sources() -> dict[str, dict[str, str]]:
    """Hashes that tell whether somebody has changed a credential since, by file and variable."""
    return {
        name: {
            variable: hashlib.sha256(value.encode()).hexdigest()
            for variable, value in variables(SECRETS / name).items()
        }
        for name in SOURCES
    }


def are_the_same(then: dict[str, dict[str, str]], now: dict[str, dict[str, str]]) -> bool:
    """Whether no credential has another value. What a deployment adds or drops is none."""
    for name in SOURCES:
        before, after = then.get(name, {}), now[name]
        common = before.keys() & after.keys()
        if any(before[variable] != after[variable] for variable in common):
            return False
        if name not in MADE_HERE and before.keys() != after.keys():
            return False
    return True


def link_target(link: Path) -> str:
    return os.readlink(link) if link.is_symlink() else ""


def kept_file(path: Path) -> dict:
    status = path.stat()
    return {
        "content": base64.b64encode(path.read_bytes()).decode(),
        "mode": status.st_mode & 0o7777,
        "uid": status.st_uid,
        "gid": status.st_gid,
    }


def make_point(state: str, verdicts: dict[str, int]) -> dict:
    return {
        "state": state,
        "verdicts": verdicts,
        "sources": sources(),
        "passwords": variables(SECRETS / PASSWORDS),
        "links": {str(link): link_target(link) for link in LINKS},
        "files": {str(path): kept_file(path) for path in files()},
    }


def runs_what_lies_on_disk() -> bool:
    try:
        return not any(
            why_restart(
                {"name": unit, "env_file": str(SECRETS / file), "root": str(ROOTS[0])}, show(unit)
            )
            for unit, file in RUNNING.items()
        )
    except (OSError, ValueError):  # an env file that systemd would misread, or not read
        return False


class AtWorkError(Exception):
    """Another deployment is at work on this host."""


def note(check_mode: bool) -> dict:
    state = host_state()
    release = os.path.basename(link_target(LINKS[0]))
    result = {"state": state, "verdicts": {}, "release": release, "kept": False, "holder": ""}
    if state == NONE or not SECRETS.is_dir():
        return result
    if check_mode:
        return result
    refuse_another()
    if state != UNKNOWN:  # a proof that fails raises an alert
        result["verdicts"] = prove(state)[0]
    with exclusive(SECRETS):
        refuse_another()
        return {**result, **keep(state, result["verdicts"])}


def refuse_another() -> None:
    if pid := at_work(read_point(SECRETS)):
        raise AtWorkError(
            f"another deployment is at work on this host, from the connection of process {pid}. "
            "Wait for its end. If nobody is there any more, end that process, or wait "
            f"{AT_WORK_S // 60} minutes"
        )


def keep(state: str, verdicts: dict[str, int]) -> dict:
    """Keep what works. Returns what it says otherwise than `note` of the host."""
    left = read_point(SECRETS)
    if left and not are_the_same(left["sources"], sources()):
        left = None
    if works(verdicts) and (not left or runs_what_lies_on_disk()):
        return {"kept": True, "holder": write_point(make_point(state, verdicts), SECRETS)}
    if not left:
        drop_point(SECRETS)
        return {}
    told = {"release": os.path.basename(left["links"][str(LINKS[0])])}
    if not works(verdicts):
        told |= {"state": left["state"], "verdicts": left["verdicts"]}
    return {**told, "kept": True, "holder": write_point(left, SECRETS)}


def kill_switch_on(path: Path) -> bool:
    """A file that cannot be read may have it on."""
    try:
        value = parse(path.read_text(encoding="utf-8")).get(KILL_SWITCH)
    except FileNotFoundError:
        return False
    except (OSError, UnicodeDecodeError, EnvFileError):
        return True
    return value is not None and value.strip().lower() not in OFF_WORDS


def content_to_restore(path: Path, kept: dict) -> bytes:
    content = base64.b64decode(kept["content"])
    if path.parent != SECRETS or path.name not in SWITCHED or not kill_switch_on(path):
        return content
    line = rb"(?m)^[ \t]*" + KILL_SWITCH.encode() + rb"[ \t]*=.*$"
    on = KILL_SWITCH.encode() + b"=true"
    engaged = re.sub(line, on, content)
    # Of two assignments the last one counts: so also where a person has written it otherwise.
    return engaged if on in engaged.splitlines() else engaged.rstrip(b"\n") + b"\n" + on + b"\n"


def restore_file(path: Path, kept: dict) -> bool:
    content = content_to_restore(path, kept)
    if path.is_file() and path.read_bytes() == content:
        return False
    path.parent.mkdir(mode=0o755, exist_ok=True)
    temporary = path.with_name(f".new-{path.name}")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fchown(file.fileno(), kept["uid"], kept["gid"])
        os.fchmod(file.fileno(), kept["mode"])
        os.fsync(file.fileno())
    if content_to_restore(path, kept) != content:  # the kill switch was engaged while we wrote
        return restore_file(path, kept)
    os.replace(temporary, path)
    return True


def restore_passwords(before: dict[str, str]) -> list[Path]:
    """Those that are gone come back, at the end; those that are there stay as they are."""
    path = SECRETS / PASSWORDS
    gone = {name: value for name, value in before.items() if name not in variables(path)}
    if not gone:
        return []
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    replace_all(SECRETS, {PASSWORDS: text + render(gone)})
    return [path]


def restore_link(link: Path, target: str) -> bool:
    if link_target(link) == target:
        return False
    if not target:
        link.unlink()
        return True
    temporary = link.with_name(f".{link.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    os.replace(temporary, link)
    return True


def is_unit(path: Path) -> bool:
    return path.parent == UNIT_DIRECTORY


def remove(path: Path) -> None:
    if is_unit(path):
        systemctl("disable", "--now", path.name, check=False)
    path.unlink()


def put_back(point: dict) -> list[str]:
    saved = {Path(path): kept for path, kept in point["files"].items()}
    added = [path for path in files() if path not in saved]
    for path in added:
        remove(path)
    written = [path for path, kept in saved.items() if restore_file(path, kept)]
    passwords = restore_passwords(point.get("passwords", {}))
    links = [link for link, target in point["links"].items() if restore_link(Path(link), target)]
    if added or written:
        systemctl("daemon-reload")
    for path in written:
        if is_unit(path) and "\n[Install]\n" in path.read_text(encoding="utf-8"):
            systemctl("enable", path.name)
        if path.suffix == ".timer":
            systemctl("restart", path.name)
    return [str(path) for path in (*added, *written, *passwords)] + links


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "operation": {"type": "str", "choices": ["note", "go_back"], "required": True},
            "holder": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        if module.params["operation"] == "note":
            module.exit_json(changed=False, **note(module.check_mode))
        if module.check_mode:
            module.exit_json(changed=False, restored=[], redis=False, units=[])
        with exclusive(SECRETS):
            point = own_point(module.params["holder"], SECRETS)
            if not point:
                module.fail_json(
                    msg="another deployment has begun or ended on this host meanwhile: what this "
                    "one kept is gone, and nothing was put back"
                )
            restored = put_back(point)
    except AtWorkError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        module.fail_json(msg=f"{where}{error.strerror}")
    result = {
        "restored": restored,
        "redis": any(str(path) in restored for path in REDIS),
        "units": [path.name for path in files() if is_unit(path)],
    }
    module.exit_json(changed=bool(restored), **result)


if __name__ == "__main__":
    main()
