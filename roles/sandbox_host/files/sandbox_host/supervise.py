"""Keeps one host's systemd-nspawn running across the host's own reboots.

Started detached. Each host gets control groups of its own: two systemds that share one
believe in each other's services.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

REBOOT = 133  # systemd-nspawn --keep-unit: the machine asked for a restart
CLEAN_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


def nspawn_command(root: Path, machine: str, hostname: str, namespace: str) -> list[str]:
    """The command line that boots a host inside its prepared network namespace."""
    return [
        "systemd-nspawn",
        "--quiet",
        f"--directory={root}",
        "--boot",
        f"--machine={machine}",
        f"--hostname={hostname}",
        f"--network-namespace-path=/run/netns/{namespace}",
        "--capability=CAP_NET_ADMIN",
        "--settings=no",
        "--register=no",
        "--keep-unit",
        "--console=pipe",
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
    ]


def supervise(command: list[str], group: str) -> int:
    """Run the command, again whenever its machine reboots, until it powers off or SIGTERM."""
    stopping = False
    child: subprocess.Popen[bytes] | None = None

    def power_off(_signal: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True
        if child is not None and child.poll() is None:
            child.send_signal(signal.SIGTERM)  # nspawn hands this on as an orderly poweroff

    signal.signal(signal.SIGTERM, power_off)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    groups = control_groups(group)
    for base in groups:
        _enter(base / "watch")
        _delegate(base)
    code = REBOOT
    while code == REBOOT and not stopping:
        # From a group of its own: systemd-nspawn builds the host's groups beside itself.
        for base in groups:
            (base / "host").mkdir(parents=True, exist_ok=True)
        entry = "".join(f'echo $$ >"{base}/host/cgroup.procs"; ' for base in groups)
        child = subprocess.Popen(
            ["/bin/sh", "-c", entry + 'exec setpriv --pdeathsig TERM "$@"', "sh", *command],
            stdin=subprocess.DEVNULL,
            env=CLEAN_ENVIRONMENT,
        )
        code = child.wait()
    return code


def control_groups(name: str) -> list[Path]:
    """The directory of this host's control group in each hierarchy that systemd uses."""
    below = Path("/proc/self/cgroup").read_text().splitlines()
    own = {line.split(":", 2)[1]: line.split(":", 2)[2].lstrip("/") for line in below}
    groups = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        mount_point = Path(left.split()[4])
        kind, _, options = right.split(" ", 2)
        unified = kind == "cgroup2"
        named = kind == "cgroup" and "name=systemd" in options.split(",")
        if not unified and not named:
            continue
        if Path("/run/systemd/system").is_dir():
            # Our unit has been delegated its own group by the machine's systemd.
            inside = own["" if unified else "name=systemd"]
            groups.append(mount_point / inside.removesuffix("/watch"))
        else:
            groups.append(mount_point / name)
    return list(dict.fromkeys(groups))


def members(groups: list[Path]) -> list[int]:
    """Process ids in these groups and everything below them."""
    found: set[int] = set()
    for base in groups:
        for listing in base.glob("**/cgroup.procs"):
            try:
                found.update(int(pid) for pid in listing.read_text().split())
            except OSError:
                continue  # the group went away while we looked
    return sorted(found - {0})


def remove_groups(groups: list[Path]) -> bool:
    """Remove emptied groups, the deepest first; False while one of them is still in use."""
    for base in groups:
        for directory, _, _ in os.walk(base, topdown=False):
            try:
                os.rmdir(directory)
            except OSError:
                continue  # not empty yet
    return not any(base.exists() for base in groups)


def _enter(group: Path) -> None:
    group.mkdir(parents=True, exist_ok=True)
    (group / "cgroup.procs").write_text(str(os.getpid()))


def _delegate(base: Path) -> None:
    available = base / "cgroup.controllers"
    if not available.exists():
        return
    for controller in available.read_text().split():
        try:
            (base / "cgroup.subtree_control").write_text(f"+{controller}")
        except OSError:
            continue  # not ours to hand on; the host then does without its accounting
