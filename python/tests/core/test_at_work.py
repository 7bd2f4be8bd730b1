"""A deployment that is at work is known by its connection, and ends no more than it has begun."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from quantum_exit import at_work
from quantum_exit.rotation.errors import Locked
from quantum_exit.rotation.journal import Kind
from quantum_exit.rotation.run import Request, Rotation
from quantum_exit.rotation.transaction import Report


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[str]:
    """A process that is called as sshd's are, with a child. Its id."""
    program = tmp_path / "sshd-session"
    program.write_text("#!/bin/sh\nsleep 60 & echo $!; wait\n")
    program.chmod(0o755)
    with subprocess.Popen([program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = process.stdout.readline().strip()
        while at_work.process(child)[0] != "sleep":  # for a moment it is the shell's copy
            time.sleep(0.005)
        yield f"{process.pid} {child}"
        process.kill()
        subprocess.run(["kill", child], check=True)


def test_another_deployment_is_known_by_its_connection(connection: str) -> None:
    pid, child = connection.split()
    theirs = at_work.session(child)
    assert theirs.startswith(f"{pid}:")
    assert at_work.session(pid) == theirs
    now = time.time()

    def seen(session: str, since_epoch: float) -> str:
        holder = {"id": "x", "session": session, "since_epoch": since_epoch}
        return at_work.at_work({"holder": holder})

    assert seen(theirs, now) == pid
    # A person who left, a process of another time, none at all.
    assert seen(theirs, now - at_work.AT_WORK_S - 1) == ""
    assert seen(f"{pid}:1", now) == ""
    assert seen("", now) == ""
    assert at_work.at_work(None) == ""
    assert at_work.at_work({"files": {}}) == ""


def test_who_comes_again_from_the_same_connection_is_no_other(
    connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = at_work.session(connection.split()[1])
    monkeypatch.setattr(at_work, "session", lambda: theirs)
    holder = {"id": "x", "session": theirs, "since_epoch": time.time()}
    assert at_work.at_work({"holder": holder}) == ""


@pytest.mark.parametrize("kind", list(Kind))
def test_a_rotation_waits_for_the_end_of_a_deployment(
    tmp_path: Path, connection: str, kind: Kind
) -> None:
    """One that fails would put back what it derived of the secrets before."""
    theirs = at_work.session(connection.split()[0])
    holder = {"id": "x", "session": theirs, "since_epoch": time.time()}
    (tmp_path / at_work.NAME).write_text(json.dumps({"sources": {}, "holder": holder}))
    request = Request(kind, "testnet", directory=tmp_path, acl_file=tmp_path / "acl")
    with pytest.raises(Locked, match="a deployment is at work on this host"):
        Rotation(request, Report()).run()
