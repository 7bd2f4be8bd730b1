#!/usr/bin/python
"""Install, switch to, and prune releases on a host (see DOCUMENTATION)."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.quantum_release_lock import exclusive

DOCUMENTATION = r"""
module: quantum_release_install
short_description: Unpack a release beside the others
description:
  - Unpacks an artifact into a virtual environment of its own under C(<root>/releases/<version>),
    without pip and without any package index.
  - The directory appears under its name by one rename, after everything in it has been compiled
    and imported once. What an interrupted run left behind is removed.
  - The action of the same name carries the artifact over, only when the host lacks it.
options:
  root:
    description: Directory that holds C(releases/) and C(current).
    type: path
    required: true
  version:
    description: Version of the release.
    type: str
    required: true
  artifact:
    description: Path of the artifact on the host. Without it the module only looks.
    type: path
  sha256:
    description: What the artifact's content must hash to.
    type: str
  imports:
    description: Modules that must be importable in the new release.
    type: list
    elements: str
    default: []
"""

RETURN = r"""
present:
  description: Whether the release was there already.
  type: bool
  returned: always
path:
  description: Where the release lies.
  type: str
  returned: always
"""


STAGING = ".staging-"
# Also known to quantum_exit.proofs.deployed.
FILES_LIST = "files.sha256"
# -s and -P: a release imports nothing from the caller's home or working directory.
SCRIPT = """\
#!{python} -sP
import sys

from {module} import {function}

sys.exit({function}())
"""
# What starts a service. It names the release itself, not `current`: a process that was started
# before a switch goes on importing from its own release, and its command line says which one.
LAUNCHER = """\
#!/bin/sh
exec {python} -sP -m "$@"
"""


class InstallError(Exception):
    """The release cannot be installed; nothing was put in place."""


def check(artifact: Path, sha256: str) -> None:
    if hashlib.sha256(artifact.read_bytes()).hexdigest() != sha256:
        raise InstallError("the artifact that arrived is not the one that was built")


def unpack(artifact: Path, site: Path) -> dict:
    with tarfile.open(artifact) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(site, filter="data")
        else:  # Python 3.11.2; the artifact is our own and its hash has been checked
            archive.extractall(site)
    return json.loads((site / "release.json").read_text())


def write_executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def run(command: list[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    if done.returncode != 0:
        raise InstallError(f"{what}: {(done.stderr or done.stdout).strip()}")


def build(staging: Path, final: Path, artifact: Path, imports: list[str]) -> None:
    venv.EnvBuilder(symlinks=True, with_pip=False).create(staging)
    for path in staging.glob("bin/[aA]ctivate*"):
        path.unlink()  # they name the staging directory, and nobody activates a release
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    manifest = unpack(artifact, staging / "lib" / python / "site-packages")
    shutil.move(staging / "lib" / python / "site-packages" / "release.json", staging)
    final_python = final / "bin" / "python"
    for name, target in manifest["scripts"].items():
        module, function = target.split(":")
        text = SCRIPT.format(python=final_python, module=module, function=function)
        write_executable(staging / "bin" / name, text)
    write_executable(staging / "bin" / "launch", LAUNCHER.format(python=final_python))
    staged_python = str(staging / "bin" / "python")
    # Compiled here because services see the file system read-only. The paths inside are final.
    compiling = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    paths = ["-s", str(staging), "-p", str(final), str(staging / "lib")]
    run([staged_python, *compiling, *paths], "the release does not compile")
    if imports:
        run([staged_python, "-sP", "-c", f"import {', '.join(imports)}"], "the release is broken")


def list_files(staging: Path) -> None:
    """Which files there are and what they hash to, for the proof, and for `sha256sum -c`."""
    lines = []
    for path in sorted(staging.rglob("*")):
        if path.is_file() and not path.is_symlink():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            lines.append(f"{digest}  {path.relative_to(staging)}\n")
    (staging / FILES_LIST).write_text("".join(lines))


def install(releases: Path, version: str, artifact: Path, imports: list[str]) -> None:
    """Under the lock of `releases`: what lies beside the releases is then left over, of nobody."""
    for leftover in releases.glob(f"{STAGING}*"):
        shutil.rmtree(leftover)
    staging = releases / f"{STAGING}{version}"
    try:
        build(staging, releases / version, artifact, imports)
        list_files(staging)
        os.sync()  # a power cut after the rename must not leave empty files under a good name
        staging.rename(releases / version)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "version": {"type": "str", "required": True},
            "artifact": {"type": "path"},
            "sha256": {"type": "str"},
            "imports": {"type": "list", "elements": "str", "default": []},
        },
        required_by={"artifact": "sha256"},
        supports_check_mode=True,
    )
    os.umask(0o022)
    releases = Path(module.params["root"]) / "releases"
    path = releases / module.params["version"]
    present = path.is_dir()
    result = {"present": present, "path": str(path), "changed": not present}
    if not present:
        result["diff"] = {"before": "", "after": f"{path}\n"}
    if module.params["artifact"] and not present and not module.check_mode:
        try:
            artifact = Path(module.params["artifact"])
            check(artifact, module.params["sha256"])
            with exclusive(releases):
                if not path.is_dir():  # another deployment may have installed it meanwhile
                    install(releases, module.params["version"], artifact, module.params["imports"])
        except (InstallError, OSError, tarfile.TarError, KeyError, ValueError) as error:
            module.fail_json(msg=f"release {module.params['version']} not installed: {error}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
