"""What the tests of several scenarios do with their host. On their path by molecule.yml."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SSH_CONFIG = ROOT / ".quantum" / "ssh_config"


def wait_until(
    what: str, condition: Callable[[], object], timeout_s: float = 30, every_s: float = 0.05
) -> None:
    """Polls until `condition()` is true; fails naming `what` when it never is."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(every_s)


@dataclass(frozen=True)
class Ended:
    """A command that ended. `text`: all it said."""

    code: int
    text: str
    took_s: float


def run_on(
    host: str, command: str, *, stdin: str = "", check: bool = True, timeout_s: float = 120
) -> Ended:
    """A command on the host, by SSH. With `check` it must succeed, and what it wrote to its
    error output is not part of its text."""
    began = time.monotonic()
    done = subprocess.run(
        ["ssh", "-F", str(SSH_CONFIG), host, command],
        input=stdin, capture_output=True, text=True, check=False, timeout=timeout_s,
    )  # fmt: skip
    assert not check or done.returncode == 0, f"{command}: {done.stderr}{done.stdout}"
    text = done.stdout if check else done.stdout + done.stderr
    return Ended(done.returncode, text, time.monotonic() - began)


def _playing(inventory: Path, name: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    command = ["ansible-playbook", "-i", str(inventory), str(ROOT / "ansible" / name), *arguments]
    return command, {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "NO_COLOR": "1"}


def play(inventory: Path, name: str, *arguments: str, timeout_s: float = 300) -> Ended:
    """A playbook of ours, as an operator runs it."""
    command, environment = _playing(inventory, name, *arguments)
    began = time.monotonic()
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=timeout_s, cwd=ROOT,
        env=environment,
    )  # fmt: skip
    return Ended(done.returncode, done.stdout + done.stderr, time.monotonic() - began)


def play_and_kill(
    inventory: Path, name: str, *arguments: str, what: str, when: Callable[[], object]
) -> None:
    """A playbook whose operator is gone, kill -9, as soon as `when()` is true."""
    command, environment = _playing(inventory, name, *arguments)
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=ROOT, env=environment,
        start_new_session=True,
    )  # fmt: skip
    try:
        wait_until(what, lambda: process.poll() is not None or when(), 120)
        assert process.poll() is None, "it ended before it could be killed"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def tunnels(host: str, *ports: int) -> Iterator[list[int]]:
    """Ports here that end at ports of the host, which are reachable from the host alone."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in ports]
    here = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    forwards = [
        f"-L127.0.0.1:{mine}:127.0.0.1:{theirs}" for mine, theirs in zip(here, ports, strict=True)
    ]
    process = subprocess.Popen(
        ["ssh", "-F", str(SSH_CONFIG), "-N", "-o", "ExitOnForwardFailure=yes", *forwards, host],
        stdin=subprocess.DEVNULL,
    )
    try:
        for mine in here:
            wait_until("a tunnel to the host", lambda port=mine: _accepts(port))
        yield here
    finally:
        process.terminate()
        process.wait()


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
