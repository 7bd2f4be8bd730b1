"""The command line: up, down, status (and supervise, which up starts by itself)."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from sandbox_host import image, machine
from sandbox_host.common import IMAGES, RELEASES, SandboxError, require_capable_machine
from sandbox_host.supervise import nspawn_command, supervise


def main() -> int:
    """Do what was asked; a SandboxError becomes one line on stderr and exit code 1."""
    parser = argparse.ArgumentParser(prog="sandbox_host", description=__doc__)
    parser.add_argument("verb", choices=["check", "image", "up", "down", "status", "supervise"])
    parser.add_argument("name", nargs="?", help="the host; down without one: all of the checkout")
    parser.add_argument("--checkout", type=Path, default=Path.cwd())
    parser.add_argument("--release", choices=RELEASES, default=RELEASES[-1])
    parser.add_argument("--everywhere", action="store_true", help="down: of all checkouts")
    arguments = parser.parse_args()
    try:
        return _do(
            arguments.verb,
            arguments.name,
            arguments.checkout.resolve(),
            arguments.release,
            arguments.everywhere,
        )
    except SandboxError as error:
        print(error, file=sys.stderr)
        return 1


def _do(verb: str, name: str | None, checkout: Path, release: str, everywhere: bool) -> int:
    require_capable_machine()
    if verb == "check":
        return 0
    if verb == "image":
        print(json.dumps({"changed": image.ensure(release)}))
        return 0
    if verb == "status":
        report = [
            {**host.record(), "running": bool(host.record()) and machine.is_running(host)}
            for host in machine.of_checkout(checkout)
        ]
        print(json.dumps(report))
        return 0
    if verb == "down":
        hosts = [machine.Host(checkout, name)] if name else machine.of_checkout(checkout)
        others = machine.elsewhere(checkout)
        gone = [host.name for host in hosts + (others if everywhere else []) if machine.down(host)]
        changed = machine.clear_leftovers(checkout) or bool(gone)
        left = [] if everywhere else [f"{host.name} of {host.checkout}" for host in others]
        print(json.dumps({"changed": changed, "gone": gone, "others": left}))
        print(f"removed: {', '.join(gone) or 'nothing, there was none'}", file=sys.stderr)
        if left:
            print(f"left alone, of other checkouts: {', '.join(left)}", file=sys.stderr)
        print(f"kept for the next time: the base images in {IMAGES}", file=sys.stderr)
        return 0
    if name is None:
        raise SandboxError(f"{verb} needs the name of a host")
    host = machine.Host(checkout, name)
    if verb == "up":
        print(json.dumps(machine.up(host, release)))
        return 0
    command = nspawn_command(host.root, host.machine, host.name, host.wire().link)
    return supervise(command, host.machine)


if __name__ == "__main__":
    sys.exit(main())
