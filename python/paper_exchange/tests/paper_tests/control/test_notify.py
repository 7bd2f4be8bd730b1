"""What the service manager is told."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path


def test_ready_when_it_listens_then_the_watchdogs_beat(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(20)
        process = subprocess.Popen(
            [sys.executable, "-m", "paper_exchange", "--port", "0"],
            env={
                "PATH": os.environ["PATH"],
                "NOTIFY_SOCKET": address,
                "WATCHDOG_USEC": "200000",
                "PAPER_EXCHANGE_API_KEY": "k",
                "PAPER_EXCHANGE_SECRET_KEY": "s",
            },
            stdout=subprocess.DEVNULL,
        )
        try:
            ready = manager.recv(4_096).decode()
            assert ready.startswith("READY=1\nSTATUS=listening on http://127.0.0.1:")
            port = int(ready.rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port), timeout=5):
                pass
            assert manager.recv(4_096) == b"WATCHDOG=1"
            assert manager.recv(4_096) == b"WATCHDOG=1"
            process.terminate()
            while (message := manager.recv(4_096)) == b"WATCHDOG=1":
                pass
            assert message == b"STOPPING=1"
            assert process.wait(20) == 0
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
