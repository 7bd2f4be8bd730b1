"""The routine that operators know: sed, restart, and back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hosts import wait_until
from stage import BRAIN, Stage

ENV_FILE = "/etc/quantum/exitbrain-v35.env"
VARIABLE = "EXIT_EXECUTOR_KILL_SWITCH"


def edit(stage: Stage, value: str) -> None:
    stage.run(f"sed -i 's/^{VARIABLE}=.*/{VARIABLE}={value}/' {ENV_FILE}")
    stage.run(f"grep -qx {VARIABLE}={value} {ENV_FILE}")
    stage.run(f"systemctl restart {BRAIN}")


def wait_for_journal(stage: Stage, text: str) -> None:
    """In the lines of the process that runs now."""
    pid = stage.main_pid(BRAIN)
    command = f"journalctl --no-pager --output=cat _PID={pid}"
    wait_until(f"{text!r} in the journal", lambda: text in stage.run(command).text)


@pytest.fixture
def released(trading: Stage) -> Iterator[Stage]:
    yield trading
    edit(trading, "false")


def test_true_stops_and_false_lets_go(released: Stage) -> None:
    edit(released, "true")
    wait_for_journal(released, "KILL-SWITCH ACTIVE")
    back_ms = released.exchange.now_ms() + 1000  # an order on its way is not waited for by sed
    released.assert_stopped(back_ms)

    looked = released.switch("off", "--check")
    assert "env: ON" in looked.text
    refused = released.switch("off")
    assert refused.code == 2, refused.text
    assert "STILL ON in env" in refused.text
    released.assert_stopped(back_ms)

    edit(released, "false")
    wait_for_journal(released, "EXIT BRAIN V3 LIVE MODE ACTIVE")
    released.assert_trading()
