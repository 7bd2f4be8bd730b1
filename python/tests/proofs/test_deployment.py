"""The host's own checks, each in both directions."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from paper_exchange.testing import PaperExchange
from quantum_exit.proofs import deployed, deployment, exchange
from quantum_exit.proofs.model import Check, Outcome
from quantum_exit.proofs.observe import Beat
from quantum_exit.values import Unknown


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "quantum"
    folder.mkdir(mode=0o700)
    for name in ("testnet.env", "operator.env"):
        (folder / name).write_text("A=b\n")
        (folder / name).chmod(0o600)
    return folder


def red(check: Check) -> bool:
    return check.outcome is Outcome.FAIL


def test_secrets_of_root_alone(secrets: Path) -> None:
    assert not red(deployment.secrets_check(secrets, os.getuid()))
    assert red(deployment.secrets_check(secrets, os.getuid() + 1))
    assert deployment.secrets_check(secrets / "none", 0).outcome is Outcome.INFO


@pytest.mark.parametrize(
    "open_it",
    [
        lambda folder: (folder / "testnet.env").chmod(0o644),
        lambda folder: (folder / "operator.env").chmod(0o640),
        lambda folder: folder.chmod(0o755),
    ],
)
def test_an_open_secret_is_seen(secrets: Path, open_it: Callable[[Path], None]) -> None:
    open_it(secrets)
    check = deployment.secrets_check(secrets, os.getuid())
    assert red(check)
    assert "has mode" in check.evidence[0]


@pytest.mark.parametrize(
    ("content", "mode", "fails"),
    [
        ("off\n", 0o644, False),
        ("on \n", 0o644, False),
        ("", 0o644, True),
        ("Off\n", 0o644, True),
        ("off\n", 0o666, True),
        ("off\n", 0o600, True),
    ],
)
def test_the_kill_file(tmp_path: Path, content: str, mode: int, fails: bool) -> None:
    file = tmp_path / "kill_switch"
    file.write_text(content)
    file.chmod(mode)
    assert red(deployment.kill_file_check(str(file))) is fails


def test_a_missing_kill_file_is_seen(tmp_path: Path) -> None:
    assert red(deployment.kill_file_check(str(tmp_path / "none")))
    assert deployment.kill_file_check("").outcome is Outcome.INFO


@pytest.mark.skipif(os.getuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_seen(tmp_path: Path) -> None:
    assert not red(deployment.disk_check((tmp_path,)))
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]).returncode:
        pytest.skip("this machine allows no mount")
    try:
        assert red(deployment.disk_check((tmp_path,)))
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_disk_that_is_gone_is_seen(tmp_path: Path) -> None:
    assert red(deployment.disk_check((tmp_path / "none",)))


@pytest.mark.parametrize(("offset_ms", "fails"), [(0, False), (-5_000, True), (5_000, True)])
def test_the_clock(offset_ms: int, fails: bool) -> None:
    with PaperExchange() as paper:
        paper.set_clock_offset(offset_ms)
        client = exchange.make_client(
            {
                "BINANCE_TESTNET": "true",
                "BINANCE_BASE_URL": paper.base_url,
                "BINANCE_API_KEY": paper.read_api_key,
                "BINANCE_API_SECRET": paper.read_secret_key,
            }
        )
        assert red(deployment.clock_check(client)) is fails
    assert red(deployment.clock_check(client))
    assert red(deployment.clock_check(Unknown("no key")))


@pytest.fixture
def releases(tmp_path: Path) -> Path:
    for version in ("1.0", "1.1"):
        (tmp_path / "releases" / version / "bin").mkdir(parents=True)
        interpreter = tmp_path / "releases" / version / "bin" / "python"
        interpreter.symlink_to(shutil.which("sleep") or "/bin/sleep")
    (tmp_path / "current").symlink_to(tmp_path / "releases" / "1.0")
    return tmp_path


def test_a_service_of_another_release_is_seen(releases: Path) -> None:
    process = subprocess.Popen([str(releases / "releases" / "1.0" / "bin" / "python"), "60"])
    try:
        beat = Beat("exitbrain", 0.0, True, "", process.pid, time.time(), {})
        beats = {"exitbrain": beat, "apply_layer": Unknown("no heartbeat")}
        current = releases / "current"
        assert not red(deployed.release_check(current, beats))
        current.unlink()
        current.symlink_to(releases / "releases" / "1.1")
        check = deployed.release_check(current, beats)
        assert red(check)
        assert "exitbrain runs 1.0" in check.evidence[1]
    finally:
        process.kill()
        process.wait()
    assert deployed.release_check(releases / "none", {}).outcome is Outcome.INFO
    own = Beat("exitbrain", 0.0, True, "", os.getpid(), time.time(), {})
    assert not red(deployed.release_check(releases / "current", {"exitbrain": own}))


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A release with a list of its files, as the installer leaves it, and `current`."""
    folder = tmp_path / "releases" / "1.0"
    (folder / "lib").mkdir(parents=True)
    (folder / "lib" / "gate.py").write_text("DENY = True\n")
    (folder / "lib" / "gate.pyc").write_bytes(b"compiled")
    names = ["lib/gate.py", "lib/gate.pyc"]
    listed = subprocess.run(["sha256sum", *names], cwd=folder, capture_output=True, check=True)
    (folder / deployed.FILES_LIST).write_bytes(listed.stdout)
    (tmp_path / "current").symlink_to(folder)
    return tmp_path / "current"


def test_a_release_as_it_was_installed(release: Path) -> None:
    check = deployed.files_check(release)
    assert (check.outcome, check.evidence) == (Outcome.PASS, ("1.0: 2 files",))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda r: (r / "lib" / "gate.py").write_text("DENY = False\n"), "changed: lib/gate.py"),
        (lambda r: (r / "lib" / "gate.pyc").write_bytes(b"other"), "changed: lib/gate.pyc"),
        (lambda r: (r / "lib" / "gate.py").unlink(), "missing: lib/gate.py"),
        (lambda r: (r / "lib" / "x.pth").write_text("import x"), "not of the release: lib/x.pth"),
    ],
)
def test_a_patched_release_is_seen(
    release: Path, change: Callable[[Path], object], told: str
) -> None:
    change(release.resolve())
    check = deployed.files_check(release)
    assert red(check)
    assert check.evidence[0] == told


def test_a_release_without_a_list_is_no_failure(release: Path) -> None:
    (release / deployed.FILES_LIST).unlink()
    assert deployed.files_check(release).outcome is Outcome.INFO
    assert deployed.files_check(release.parent / "none").outcome is Outcome.INFO


def test_an_empty_list_proves_nothing(release: Path) -> None:
    (release / deployed.FILES_LIST).write_text("")
    assert red(deployed.files_check(release))
