"""Releases on a host: one deployment at a time touches them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .role_modules import load

ROLE = Path(__file__).resolve().parents[2] / "roles" / "release"
LOCK = ROLE / "module_utils" / "quantum_release_lock.py"


class Ended(Exception):
    """The module is done; with its result."""


def run(module: Any, monkeypatch: pytest.MonkeyPatch, **params: Any) -> dict[str, Any]:
    class Called:
        check_mode = False

        def __init__(self, **_: Any) -> None:
            self.params = params

        def exit_json(self, **result: Any) -> None:
            raise Ended(result)

        fail_json = exit_json

    monkeypatch.setattr(module, "AnsibleModule", Called)
    with pytest.raises(Ended) as ended:
        module.main()
    result: dict[str, Any] = ended.value.args[0]
    return result


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    name = "ansible.module_utils.quantum_release_lock"
    monkeypatch.setitem(sys.modules, name, load(name, LOCK))
    names = ("quantum_release_install", "quantum_release_switch")
    return {each: load(each, ROLE / "library" / f"{each}.py") for each in names}


def is_locked(releases: Path) -> bool:
    """Whether another process would have to wait."""
    word = ["flock", "--nonblock", str(releases / ".lock"), "true"]
    return subprocess.run(word, check=False).returncode == 1


def test_what_another_deployment_is_building_is_not_taken_for_left_over(
    library: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, releases, artifact = library["quantum_release_install"], tmp_path / "releases", "a.tgz"
    (tmp_path / artifact).write_bytes(b"")
    seen = []

    def install(where: Path, version: str, *_: Any) -> None:
        seen.append(is_locked(where))
        (where / version).mkdir()

    monkeypatch.setattr(module, "install", install)
    monkeypatch.setattr(module, "check", lambda *_: None)
    asked = {"root": str(tmp_path), "version": "1", "artifact": str(tmp_path / artifact)}
    result = run(module, monkeypatch, **asked, sha256="", imports=[])
    assert (result["changed"], seen, is_locked(releases)) == (True, [True], False)
    assert os.stat(releases / ".lock").st_mode & 0o777 == 0o600


def test_links_are_switched_and_releases_removed_by_one_at_a_time(
    library: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, releases = library["quantum_release_switch"], tmp_path / "releases"
    for age, version in enumerate(("2", "1", "3")):
        (releases / version).mkdir(parents=True)
        os.utime(releases / version, (1000 - age, 1000 - age))
    seen = []
    for name in ("point", "remove"):
        real = getattr(module, name)

        def watched(*words: Any, real: Any = real) -> None:
            seen.append(is_locked(releases))
            real(*words)

        monkeypatch.setattr(module, name, watched)
    asked = {"root": str(tmp_path), "commands": [], "keep": 2, "will_exist": False}
    assert run(module, monkeypatch, **asked, version="1")["changed"]
    assert run(module, monkeypatch, **asked, version="2")["previous"] == "1"
    assert seen
    assert all(seen)
    assert os.readlink(tmp_path / "current") == "releases/2"
    # The lock is no release.
    assert {path.name for path in releases.glob("[!.]*")} == {"1", "2"}
    assert not is_locked(releases)
