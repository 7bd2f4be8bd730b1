"""The program on the host: a request on standard input, a report on standard output, both JSON.

    {"kind": "exchange", "environment": "testnet", "given": {"api_key": …, "api_secret": …}}

It goes on when whoever started it is gone. Exit status 0: done; 1: failed, see `error`.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from quantum_exit.rotation.errors import RotationError, told
from quantum_exit.rotation.journal import Kind
from quantum_exit.rotation.run import Request, Rotation
from quantum_exit.rotation.transaction import Report


def read_request(text: str) -> Request:
    """Raises RotationError; the text of a broken request is not repeated."""
    try:
        document: dict[str, Any] = json.loads(text)
        given = {str(name): str(value) for name, value in document.get("given", {}).items()}
        request = Request(
            kind=Kind(document["kind"]),
            environment=str(document["environment"]),
            given=given,
            check_only=bool(document.get("check_only", False)),
            signing_overlap_s=float(document.get("signing_overlap_s", 65)),
            producers_overlap_s=float(document.get("producers_overlap_s", 86_400)),
            end_overlap=bool(document.get("end_overlap", False)),
            directory=Path(document.get("directory", "/etc/quantum")),
            acl_file=Path(document.get("acl_file", "/etc/redis/quantum.acl")),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RotationError("the request on standard input cannot be read") from None
    if request.environment not in ("testnet", "mainnet"):
        raise RotationError("environment must be testnet or mainnet")
    return request


def _stop_once(number: int, _: FrameType | None) -> None:
    """Asked to stop: undo in peace."""
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    raise RotationError(f"stopped by {signal.Signals(number).name}")


def main() -> int:
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Whoever started it may be killed, or lose the connection: that is no reason to stop.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop_once)
    report, error = Report(), ""
    try:
        Rotation(read_request(sys.stdin.read()), report).run()
    except Exception as problem:  # noqa: BLE001 - a traceback is no answer, and may say too much
        error = told(problem)
        report.say(f"FAILED: {error}")
    document = {"ok": not error, "changed": report.changed, "lines": report.lines, "error": error}
    with contextlib.suppress(OSError):
        print(json.dumps(document), flush=True)
    return 1 if error else 0


if __name__ == "__main__":
    sys.exit(main())
