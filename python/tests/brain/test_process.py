"""The brain as a process: what it refuses to start with, and what it says when it does."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import redis

from quantum_exit import keys
from quantum_exit.exit_mode import KILLED_LINE, LIVE_LINE

from ..conftest import wait_for
from .harness import CREDENTIALS, LIVE, SEED

GOOD = {**CREDENTIALS, **LIVE, "QUANTUM_SIGNING_KEY": SEED}


def _command() -> list[str]:
    return [sys.executable, "-m", "quantum_exit.brain"]


def _environ(variables: Mapping[str, str]) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", **variables}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"BINANCE_API_KEY": ""}, "BINANCE_API_KEY is empty"),
        ({"BINANCE_API_SECRET": None}, "BINANCE_API_SECRET is missing"),
        ({"QUANTUM_SIGNING_KEY": None}, "QUANTUM_SIGNING_KEY is missing"),
        ({"QUANTUM_SIGNING_KEY": "11"}, "QUANTUM_SIGNING_KEY"),
        ({"USE_BINANCE_TESTNET": "false"}, "disagree"),
        ({"REDIS_URL": None}, "REDIS_URL is missing"),
        ({"EXIT_BRAIN_CYCLE_S": "0"}, "EXIT_BRAIN_CYCLE_S"),
        (
            {"EXIT_BRAIN_CYCLE_S": "0.1", "BINANCE_BASE_URL": "https://127.0.0.1:9"},
            "EXIT_BRAIN_CYCLE_S must be a number from 0.5 to 60, not '0.1'",
        ),
        ({"EXIT_BRAIN_EXCHANGE_STOP": "maybe"}, "EXIT_BRAIN_EXCHANGE_STOP"),
        ({"QUANTUM_LOG_FILE": "/nowhere/at/all.log"}, "QUANTUM_LOG_FILE"),
    ],
)
def test_a_wrong_configuration_is_named_and_ends_it_with_78(
    changes: Mapping[str, str | None], named: str
) -> None:
    merged = {**GOOD, "REDIS_URL": "redis://127.0.0.1:1/0", **changes}
    variables = {name: value for name, value in merged.items() if value is not None}
    done = subprocess.run(
        _command(), env=_environ(variables), capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 78
    assert named in done.stderr
    assert "secret" not in done.stderr.replace("BINANCE_API_SECRET", "")


@pytest.mark.parametrize(
    ("switch", "line"), [("false", LIVE_LINE), ("true", KILLED_LINE), ("", KILLED_LINE)]
)
def test_it_says_its_mode_stays_up_without_an_exchange_and_ends_when_asked(
    redis_client: redis.Redis, redis_url: str, tmp_path: Path, switch: str, line: str
) -> None:
    log = tmp_path / "brain.log"
    variables = {
        **GOOD,
        "REDIS_URL": redis_url,
        "EXIT_EXECUTOR_KILL_SWITCH": switch,
        "QUANTUM_LOG_FILE": str(log),
    }
    process = subprocess.Popen(
        _command(), env=_environ(variables), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        key = keys.heartbeat("exitbrain")
        wait_for(lambda: "exchange" in (redis_client.hget(key, "status") or ""), "not ready said")
        assert redis_client.hget(key, "ready") == "false"
        first = log.rename(tmp_path / "brain.log.1")
        wait_for(lambda: log.exists() and "Cycle " in log.read_text(), "a new file after rotation")
        assert line in first.read_text()
        assert process.poll() is None
    finally:
        process.terminate()
        output, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "[EXIT_MODE] Configuration loaded: " in output.decode()


def test_a_log_file_that_can_no_longer_be_written_ends_no_cycle(
    redis_client: redis.Redis, redis_url: str, tmp_path: Path
) -> None:
    directory = tmp_path / "log"
    directory.mkdir()
    variables = {
        **GOOD,
        "REDIS_URL": redis_url,
        "QUANTUM_LOG_FILE": str(directory / "brain.log"),
        "EXIT_BRAIN_CYCLE_S": "0.1",
    }
    process = subprocess.Popen(
        _command(), env=_environ(variables), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def cycle() -> int:
        return int(redis_client.hget(keys.heartbeat("exitbrain"), "cycle") or 0)

    try:
        wait_for(lambda: cycle() > 1, "cycles")
        shutil.rmtree(directory)
        begin = cycle()
        wait_for(lambda: cycle() > begin + 5, "cycles without a log file")
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
