#!/usr/bin/python
"""Build a release on the control machine (see DOCUMENTATION)."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: quantum_release_build
short_description: Build the artifact of a release on the control machine
description:
  - Runs on the control machine (C(delegate_to=localhost)). Resolves nothing. What is installed
    stands in the lock file, with hashes, and comes as wheels only.
  - The artifact is the content of a C(site-packages) directory for one Python and one kind of
    machine. It is kept in a cache under a name made of its inputs and built once.
  - The version is that of the project and a hash of everything that goes into the artifact, so
    that equal content has an equal version on every host.
options:
  project_dir:
    description: Directory of the distribution's C(pyproject.toml).
    type: path
    required: true
  requirements:
    description: Lock file with hashes.
    type: path
    required: true
  python_version:
    description: Full version of the host's Python. Markers in the lock can depend on the last part.
    type: str
    required: true
  machine:
    description: The host's machine, C(x86_64) or C(aarch64).
    type: str
    choices: [x86_64, aarch64]
    required: true
  cache_dir:
    description: Where artifacts are kept.
    type: path
    required: true
"""

RETURN = r"""
version:
  description: Version of the release.
  type: str
  returned: always
artifact:
  description: Path of the artifact on the control machine.
  type: str
  returned: always
sha256:
  description: SHA-256 of the artifact.
  type: str
  returned: always
"""


# Raise it when the layout of the artifact changes: old ones in caches are then left alone.
LAYOUT = "1"
CACHED_ARTIFACTS = 20
FETCH_TIMEOUT_S = 300
# Records of the control machine that installers leave beside a package, and what only tests need.
NOT_SHIPPED_FILES = {"direct_url.json", "uv_cache.json", "REQUESTED", "INSTALLER", "RECORD"}
NOT_SHIPPED_DIRS = {"__pycache__", "tests"}


class BuildError(Exception):
    """The artifact cannot be built; the message says what to do."""


def source_files(project_dir: Path) -> list[Path]:
    files = [project_dir / "pyproject.toml"]
    for path in sorted((project_dir / "src").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
            files.append(path)
    return files


def content_hash(project_dir: Path, requirements: Path) -> str:
    """Hash of everything that goes into an artifact, whatever Python it is for."""
    digest = hashlib.sha256(LAYOUT.encode())
    for path in source_files(project_dir):
        digest.update(f"\0{path.relative_to(project_dir)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    digest.update(hashlib.sha256(requirements.read_bytes()).digest())
    return digest.hexdigest()


def run(command: list[str], cwd: Path) -> None:
    # A fixed epoch makes two builds of the same content equal, byte for byte.
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "315532800"}
    try:
        subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=FETCH_TIMEOUT_S,
        )
    except FileNotFoundError as error:
        raise BuildError(
            f"{command[0]} is missing beside the Python that runs Ansible: "
            "install python/requirements/tools.txt there"
        ) from error
    except subprocess.CalledProcessError as error:
        raise BuildError(f"{' '.join(command[:3])} failed: {error.stderr.strip()}") from error
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{' '.join(command[:3])} took over {FETCH_TIMEOUT_S} s") from error


def fill_site_packages(site: Path, work: Path, parameters: dict) -> None:
    """Put the locked wheels and the project itself into `site`."""
    uv = str(Path(sys.executable).with_name("uv"))
    install = [uv, "pip", "install", "--quiet", "--target", str(site), "--link-mode", "copy"]
    target = [
        "--python-version",
        parameters["python_version"],
        "--python-platform",
        f"{parameters['machine']}-manylinux_2_28",
    ]
    locked = ["--require-hashes", "--only-binary", ":all:", "-r", parameters["requirements"]]
    run([*install, *target, *locked], cwd=work)
    wheels = work / "wheels"
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)]
    run(build, cwd=Path(parameters["project_dir"]))
    own = [str(path) for path in wheels.glob("*.whl")]
    run([*install, *target, "--no-deps", "--no-index", *own], cwd=work)


def leave_out(site: Path) -> None:
    for path in sorted(site.rglob("*"), reverse=True):
        if path.is_dir() and path.name in NOT_SHIPPED_DIRS:
            shutil.rmtree(path)
        elif path.is_file() and path.name in NOT_SHIPPED_FILES:
            path.unlink()
    shutil.rmtree(site / "bin", ignore_errors=True)
    (site / ".lock").unlink(missing_ok=True)


def pack(site: Path, artifact: Path) -> None:
    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = "root"
        member.mode = 0o755 if member.isdir() else 0o644
        return member

    with tarfile.open(artifact, "w:gz", compresslevel=6) as archive:
        for path in sorted(site.rglob("*")):
            archive.add(path, path.relative_to(site), recursive=False, filter=plain)


def build(artifact: Path, manifest: dict, parameters: dict) -> None:
    """Build in a scratch directory, then put the artifact in place by one rename."""
    with tempfile.TemporaryDirectory(dir=artifact.parent, prefix=".build-") as scratch:
        work = Path(scratch)
        site = work / "site-packages"
        fill_site_packages(site, work, parameters)
        leave_out(site)
        (site / "release.json").write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
        pack(site, work / "artifact")
        project_dir, requirements = parameters["project_dir"], parameters["requirements"]
        if content_hash(Path(project_dir), Path(requirements)) != manifest["content_sha256"]:
            raise BuildError("the sources changed while they were built; run it again")
        os.replace(work / "artifact", artifact)


def forget_oldest(cache: Path) -> None:
    artifacts = sorted(cache.glob("*.tar.gz"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in artifacts[CACHED_ARTIFACTS:]:
        path.unlink()


def provide(parameters: dict) -> dict:
    project_dir = Path(parameters["project_dir"])
    with (project_dir / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    digest = content_hash(project_dir, Path(parameters["requirements"]))
    version = f"{project['version']}-{digest[:12]}"
    manifest = {
        "name": project["name"],
        "version": version,
        "content_sha256": digest,
        "python_version": parameters["python_version"],
        "machine": parameters["machine"],
        "scripts": project.get("scripts", {}),
    }
    cache = Path(parameters["cache_dir"])
    cache.mkdir(parents=True, exist_ok=True)
    kind = f"py{parameters['python_version']}-{parameters['machine']}"
    artifact = cache / f"{project['name']}-{version}-{kind}.tar.gz"
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several hosts of one play ask for the same artifact
        if not artifact.exists():
            build(artifact, manifest, parameters)
            forget_oldest(cache)
    return {
        "version": version,
        "artifact": str(artifact),
        "sha256": hashlib.sha256(artifact.read_bytes()).hexdigest(),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "project_dir": {"type": "path", "required": True},
            "requirements": {"type": "path", "required": True},
            "python_version": {"type": "str", "required": True},
            "machine": {"type": "str", "choices": ["x86_64", "aarch64"], "required": True},
            "cache_dir": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        # The cache is no state of any host: filling it is no change, and allowed in check mode.
        module.exit_json(changed=False, **provide(module.params))
    except (BuildError, OSError, KeyError) as error:
        module.fail_json(msg=f"the release could not be built: {error}")


if __name__ == "__main__":
    main()
