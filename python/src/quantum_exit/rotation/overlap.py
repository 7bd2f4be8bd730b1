"""`python -m quantum_exit.rotation.overlap`: by the clock, producers' passwords whose time is over.

They were replaced, and the rotation said until when they are accepted beside the new ones.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from quantum_exit.rotation.errors import told
from quantum_exit.rotation.journal import Kind
from quantum_exit.rotation.run import Request, Rotation
from quantum_exit.rotation.transaction import Report


def main(arguments: Sequence[str]) -> int:
    """`arguments`: the directory of secrets and the ACL file, where they are not the usual ones.
    Exit status 1: it failed, and the next time will try again."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Of the environments' keys nothing is looked at.
    request, report = Request(Kind.PRODUCERS, "testnet"), Report()
    if arguments:
        directory, acl_file = map(Path, arguments)
        request = replace(request, directory=directory, acl_file=acl_file)
    try:
        Rotation(request, report).end_what_is_due()
    except Exception as problem:  # noqa: BLE001 - a traceback may say too much
        report.say(f"FAILED: {told(problem)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
