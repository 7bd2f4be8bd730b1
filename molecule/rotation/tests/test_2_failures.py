"""Keys that do not work, and rotations that are cut off: the host goes on with a key that does."""

from __future__ import annotations

import os
import signal

import pytest
from stage import Stage, assert_well, new_keys


def assert_untouched(stage: Stage, files: str, pids: str) -> None:
    assert stage.fingerprints() == files
    assert stage.main_pids() == pids
    assert stage.run("ls -A /etc/quantum | grep '^[.]'", check=False).text == ""


@pytest.mark.parametrize("wrong", ["unknown to the exchange", "not for trading", "a wrong secret"])
def test_a_key_that_does_not_work_changes_nothing(stage: Stage, wrong: str) -> None:
    files, pids, keys = stage.fingerprints(), stage.main_pids(), new_keys()
    trade, trade_secret, read, read_secret = keys.values
    if wrong == "not for trading":
        stage.exchange.add_key(trade, trade_secret, may_trade=False)
        stage.exchange.add_key(read, read_secret, may_trade=False)
    elif wrong == "a wrong secret":
        stage.exchange.add_key(trade, new_keys().values[1], may_trade=True)
        stage.exchange.add_key(read, read_secret, may_trade=False)
    refused = stage.rotate(keys=keys)
    assert refused.code != 0
    assert "the trading key" in refused.text
    assert_untouched(stage, files, pids)


def test_keys_on_the_command_line_or_in_an_open_file_are_refused(stage: Stage) -> None:
    files, pids, keys = stage.fingerprints(), stage.main_pids(), stage.accept(new_keys())
    by_line = stage.rotate("-e", f"rotation_api_key={keys.values[0]}")
    assert by_line.code != 0
    assert "rotation_api_key was given on the command line" in by_line.text
    by_json = stage.rotate("-e", f'{{"rotation_api_secret": "{keys.values[1]}"}}')
    assert by_json.code != 0
    open_file = stage.rotate(*stage.by_file(keys, mode=0o644))
    assert open_file.code != 0
    assert "can be read by others" in open_file.text
    assert_untouched(stage, files, pids)


def test_check_mode_proves_the_keys_and_changes_nothing(stage: Stage) -> None:
    files, pids, keys = stage.fingerprints(), stage.main_pids(), stage.accept(new_keys())
    looked = stage.rotate("--check", "--diff", keys=keys)
    assert looked.code == 0, looked.text
    assert "would replace" in looked.text
    assert_untouched(stage, files, pids)


def test_a_key_that_dies_on_the_way_is_taken_back(stage: Stage) -> None:
    old, new = stage.present_keys(), stage.accept(new_keys())
    process = stage.start(*stage.by_file(new))
    stage.wait_for_journal("switching")
    stage.exchange.revoke_key(new.api_key)
    text, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "failed while" in text
    assert "The old secrets are back in use" in text
    assert_well(stage, old)


def test_an_operator_who_is_killed_does_not_stop_it(stage: Stage) -> None:
    new = stage.accept(new_keys())
    process = stage.start(*stage.by_file(new))
    stage.wait_for_journal("switching")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    again = stage.rotate(keys=new)
    assert again.code == 0, again.text
    assert_well(stage, new)


@pytest.mark.parametrize(
    "failpoint",
    ["rotation_renamed:2", "rotation_restarted"],
)
def test_after_a_kill_on_the_host_the_next_run_ends_it(stage: Stage, failpoint: str) -> None:
    old, new = stage.present_keys(), stage.accept(new_keys())
    killed = stage.rotate_on_host(new.as_given(), failpoint)
    assert killed.code != 0
    assert "ok" not in killed.text
    # Whatever is on disk and runs meanwhile works: both pairs are good.
    stage.assert_fit()
    # The next run has no new keys: it undoes what was begun, and finds nothing else to do.
    again = stage.rotate()
    assert again.code == 0, again.text
    assert "was cut off" in again.text
    assert_well(stage, old)


def test_after_a_kill_it_goes_on_if_the_old_key_is_dead_by_then(stage: Stage) -> None:
    old, new = stage.present_keys(), stage.accept(new_keys())
    stage.rotate_on_host(new.as_given(), "rotation_renamed:3")
    stage.exchange.revoke_key(old.api_key)
    again = stage.rotate()
    assert again.code == 0, again.text
    assert_well(stage, new)
