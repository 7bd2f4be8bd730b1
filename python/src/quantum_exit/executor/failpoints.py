"""Named steps at which a test may kill or freeze the process. Nothing in production sets it.

`QUANTUM_FAILPOINT=after_grant:3` kills the process with SIGKILL the third time it passes
`after_grant`; `freeze@after_grant` stops it with SIGSTOP until somebody continues it.
"""

from __future__ import annotations

import os
import signal
import threading

_spec = os.environ.get("QUANTUM_FAILPOINT", "")
_signal = signal.SIGSTOP if _spec.startswith("freeze@") else signal.SIGKILL
_name, _, _count = _spec.removeprefix("freeze@").partition(":")
_left = int(_count or 1) if _name else 0
_lock = threading.Lock()


def hit(name: str) -> None:
    global _left
    if name != _name:
        return
    with _lock:
        _left -= 1
        strike = _left == 0
    if strike:
        # To this very thread: another one would let it run on for a moment.
        signal.pthread_kill(threading.get_ident(), _signal)
