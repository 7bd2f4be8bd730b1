#!/usr/bin/python
"""Make a release the current one (see DOCUMENTATION)."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.quantum_release_lock import exclusive

DOCUMENTATION = r"""
module: quantum_release_switch
short_description: Point C(current) at a release and remove the oldest ones
description:
  - C(current) is replaced by one rename, so that it always points at a whole release.
    What was current before stays reachable as C(previous).
  - Restarts nothing. A running service goes on with the release that it was started from.
  - Removes the oldest releases beyond O(keep), never the current one, the previous one or one that
    a process was started from.
options:
  root:
    description: Directory that holds C(releases/) and C(current).
    type: path
    required: true
  version:
    description: The release to switch to.
    type: str
    required: true
  commands:
    description: Commands of the release to link into C(/usr/local/bin), through C(current).
    type: list
    elements: str
    default: []
  keep:
    description: How many releases to keep.
    type: int
    default: 5
  will_exist:
    description: In check mode, take it that an earlier task would have installed the release.
    type: bool
    default: false
"""

RETURN = r"""
root:
  description: The directory, as it was given.
  type: str
  returned: always
previous:
  description: Version that was current before; empty if there was none.
  type: str
  returned: always
removed:
  description: Versions that were removed.
  type: list
  returned: always
"""


BIN = Path("/usr/local/bin")


def pointed_at(link: Path) -> str:
    """Version that a symbolic link names; empty if there is no such link."""
    return os.path.basename(os.readlink(link)) if link.is_symlink() else ""


def replace_link(link: Path, target: Path) -> None:
    temporary = link.with_name(f".{link.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    os.replace(temporary, link)


def missing_links(root: Path, commands: list[str]) -> dict[str, Path]:
    targets = {name: root / "current" / "bin" / name for name in commands}
    return {
        name: target
        for name, target in targets.items()
        if not (BIN / name).is_symlink() or Path(os.readlink(BIN / name)) != target
    }


def point(link: Path, version: str) -> None:
    replace_link(link, Path("releases") / version)
    directory = os.open(link.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def in_use(releases: Path) -> set[str]:
    """Versions that a running process was started from."""
    versions = set()
    prefix = os.fsencode(releases) + b"/"
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes().split(b"\0")
        except OSError:
            continue  # it ended meanwhile
        for word in words:
            if word.startswith(prefix):
                versions.add(os.fsdecode(word[len(prefix) :].split(b"/")[0]))
    return versions


def removable(releases: Path, keep: int, needed: set[str]) -> list[str]:
    installed = [path for path in releases.iterdir() if not path.name.startswith(".")]
    installed.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    old = [path.name for path in installed if path.name not in needed]
    spare = max(0, keep - len(needed & {path.name for path in installed}))
    return old[spare:]


def remove(releases: Path, version: str) -> None:
    # Under its own name a release is always whole. The next install cleans up what is left here.
    doomed = releases / f".staging-removed-{version}"
    (releases / version).rename(doomed)
    shutil.rmtree(doomed)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "version": {"type": "str", "required": True},
            "commands": {"type": "list", "elements": "str", "default": []},
            "keep": {"type": "int", "default": 5},
            "will_exist": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    root = Path(module.params["root"])
    releases = root / "releases"
    version = module.params["version"]
    if not (releases / version).is_dir() and not (
        module.check_mode and module.params["will_exist"]
    ):
        kept = sorted(path.name for path in releases.glob("[!.]*"))
        module.fail_json(msg=f"release {version} is not on this host; kept are: {', '.join(kept)}")
    with contextlib.nullcontext() if module.check_mode else exclusive(releases):
        before = pointed_at(root / "current")
        previous = pointed_at(root / "previous") if before == version else before
        removed = []
        if releases.is_dir():
            needed = {version, previous} | in_use(releases)
            removed = removable(releases, module.params["keep"], needed)
        links = missing_links(root, module.params["commands"])
        if not module.check_mode:
            if before != version:
                if before:
                    point(root / "previous", before)
                point(root / "current", version)
            for name in removed:
                remove(releases, name)
            for name, target in links.items():
                replace_link(BIN / name, target)
    result = {
        "root": str(root),
        "changed": before != version or bool(removed or links),
        "previous": previous,
        "removed": removed,
    }
    result["diff"] = {"before": "", "after": ""}
    if before != version:
        result["diff"]["before"] = f"{root}/current -> releases/{before}\n" if before else ""
        result["diff"]["after"] = f"{root}/current -> releases/{version}\n"
    result["diff"]["before"] += "".join(f"{releases / name}\n" for name in removed)
    result["diff"]["after"] += "".join(f"{BIN / name} -> {links[name]}\n" for name in links)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
