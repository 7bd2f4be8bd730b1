"""Who is let into Redis, as the redis role writes it down."""

import fcntl
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from quantum_exit.rotation import acl
from quantum_exit.rotation.kinds import EnvFiles

from .role_modules import load

ROLE = Path(__file__).resolve().parents[2] / "roles" / "redis"
USERS = [{"name": "operator", "rules": ["+ping"]}, {"name": "intent_bridge", "rules": ["+xadd"]}]
OLD, NEW, OPERATOR = "a" * 64, "b" * 64, "c" * 64
NOW = 1_000_000


@pytest.fixture
def role(monkeypatch: pytest.MonkeyPatch) -> Any:
    name = "ansible.module_utils.quantum_private_files"
    path = ROLE / "module_utils" / "quantum_private_files.py"
    monkeypatch.setitem(sys.modules, name, load(name, path))
    return load("quantum_redis_acl", ROLE / "library" / "quantum_redis_acl.py")


def password_file(directory: Path, until_epoch: int) -> Path:
    """As the rotation leaves it."""
    path = directory / "redis.env"
    path.write_text(
        f"REDIS_PASSWORD_OPERATOR={OPERATOR}\nREDIS_PASSWORD_INTENT_BRIDGE={NEW}\n"
        f"REDIS_REPLACED_INTENT_BRIDGE={acl.hashed(OLD)}:{until_epoch}\n"
    )
    path.chmod(0o600)
    return path


def accepted(role: Any, path: Path) -> dict[str, list[str]]:
    passwords = role.read_passwords(str(path))
    replaced = role.read_replaced(str(path), NOW)
    text, _ = role.acl_text(USERS, passwords, (8, 0), replaced)
    lines = [line.split() for line in text.splitlines()]
    return {
        words[1]: [word[1:] for word in words if word.startswith("#")]
        for words in lines
        if words[1] in ("operator", "intent_bridge")
    }


@pytest.mark.parametrize(("until_epoch", "both"), [(NOW + 1, True), (NOW, False)])
def test_a_deployment_keeps_a_replaced_password_as_long_as_the_rotation_said(
    role: Any, tmp_path: Path, until_epoch: int, both: bool
) -> None:
    path = password_file(tmp_path, until_epoch)
    wanted = [acl.hashed(NEW), acl.hashed(OLD)] if both else [acl.hashed(NEW)]
    assert accepted(role, path) == {"operator": [acl.hashed(OPERATOR)], "intent_bridge": wanted}


def test_the_rotation_reads_the_same_out_of_that_file(role: Any, tmp_path: Path) -> None:
    path = password_file(tmp_path, NOW + 1)
    assert EnvFiles(tmp_path, "testnet").accepted(NOW) == accepted(role, path)


def test_rules_are_the_same_text_whoever_writes_the_hashes(role: Any, tmp_path: Path) -> None:
    path = password_file(tmp_path, NOW + 1)
    alone, _ = role.acl_text(USERS, role.read_passwords(str(path)), (8, 0), {})
    both, _ = role.acl_text(
        USERS, role.read_passwords(str(path)), (8, 0), role.read_replaced(str(path), NOW)
    )
    assert acl.with_hashes(alone, EnvFiles(tmp_path, "testnet").accepted(NOW)) == both


def test_passwords_are_read_and_written_under_the_lock_that_a_rotation_holds(
    role: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a deployment writes back those that were replaced between its look and its write."""
    path = password_file(tmp_path, NOW)

    class Called:
        params = {"password_file": str(path)}  # noqa: RUF012 - as Ansible's

        def __init__(self, **_: Any) -> None:
            pass

        def exit_json(self, **result: Any) -> None:
            assert result == {"locked": True}

    def is_locked(_: Any) -> dict[str, bool]:
        handle = os.open(tmp_path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return {"locked": True}
        finally:
            os.close(handle)
        return {"locked": False}

    monkeypatch.setattr(role, "AnsibleModule", Called)
    monkeypatch.setattr(role, "apply", is_locked)
    role.main()
