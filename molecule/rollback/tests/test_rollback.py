"""Releases come and go; the host goes on working, or goes back to what worked."""

from __future__ import annotations

import json

import stage
from hosts import wait_until


def assert_back(done: stage.Ended, release: str, configuration: str, reason: str) -> None:
    assert done.code == 2, done.text[-3000:]
    assert reason in done.text
    assert f"roll is back on release {release} and its configuration, proven: live" in done.text
    assert stage.current() == release
    assert stage.releases_that_run() == {release}
    assert stage.configuration() == configuration
    proven = stage.proof("live")
    assert proven.code == 0, proven.text
    assert stage.nothing_is_left_behind()


def test_a_release_that_misreads_its_mode_is_undone_with_its_configuration() -> None:
    release, configuration = stage.current(), stage.configuration()
    before = (
        stage.previous()
        if stage.run("test -L /opt/quantum/previous", check=False).code == 0
        else ""
    )
    # It comes with another unit, one unit less and another user of Redis.
    more = {
        "exitbrain_memory_max": "300M",
        "timers_watch": False,
        "redis_producers": ["intent_bridge", "another"],
    }
    done = stage.deploy("shadow", "-e", json.dumps(more))
    assert_back(done, release, configuration, "expected live: proof exitbrain: FAIL, before: PASS")
    assert "SHADOW by the heartbeat" in done.text
    assert stage.run("systemctl is-active quantum-exit-owner-watch.timer").text.strip() == "active"
    assert stage.run("readlink /opt/quantum/previous", check=False).text.strip().endswith(before)


def test_a_release_whose_brain_is_never_ready_is_undone() -> None:
    release, configuration = stage.current(), stage.configuration()
    done = stage.deploy("never")
    assert_back(done, release, configuration, "quantum-exitbrain-v35.service did not become ready")


def test_what_a_killed_deployment_wrote_and_never_ran_is_not_gone_back_to() -> None:
    release, configuration, running = stage.current(), stage.configuration(), stage.processes()
    wrong = {"credentials_extra": {"exitbrain-v35": {"EXIT_BRAIN_CYCLE_S": "never"}}}
    stage.deploy_and_kill(
        *("old", "-e", json.dumps(wrong)),
        what="the env file is written",
        when=lambda: stage.configuration() != configuration,
    )
    assert stage.processes() == running
    # Its connection is still there: nobody else begins meanwhile, and nothing is touched.
    kept = stage.run(f"sha256sum {stage.KEPT}").text
    done = stage.deploy("new", *stage.ANOTHER)
    assert done.code == 2
    assert "another deployment is at work on this host" in done.text
    assert "roll was not changed" in done.text
    assert stage.run(f"sha256sum {stage.KEPT}").text == kept
    # Who began comes again, and fails.
    done = stage.deploy("never")
    assert_back(done, release, configuration, "quantum-exitbrain-v35.service did not become ready")


def test_a_change_of_mode_by_mistake_stops_before_anything_is_restarted() -> None:
    release, configuration, running = stage.current(), stage.configuration(), stage.processes()
    done = stage.deploy("new", "-e", "credentials_exit_executor_mode=SHADOW")
    assert_back(done, release, configuration, "EXIT_EXECUTOR_MODE is not LIVE")
    assert "-e expect=shadow" in done.text
    assert stage.processes() == running


def test_upgrade_and_downgrade_lose_and_double_no_plan() -> None:
    old = stage.current()
    plans = stage.Plans()
    wait_until("plans are executed", lambda: plans.audit()["executed"] > 3)
    try:
        done = stage.deploy("new")
        assert done.code == 0, done.text[-3000:]
        new = stage.current()
        assert new != old
        assert stage.releases_that_run() == {new}

        looked = stage.rollback("--check", "--diff")
        assert looked.code == 0, looked.text[-3000:]
        assert f"+/opt/quantum/current -> releases/{old}" in looked.text
        for unit in stage.UNITS:
            assert f"+restart {unit}.service: the release would change" in looked.text
        assert stage.releases_that_run() == {new}

        done = stage.rollback()
        assert done.code == 0, done.text[-3000:]
        assert stage.current() == old
        assert stage.releases_that_run() == {old}

        done = stage.rollback("-e", f"version={new}")
        assert done.code == 0, done.text[-3000:]
        assert stage.releases_that_run() == {new}
        before = plans.audit()["executed"]
        wait_until("plans go on", lambda: plans.audit()["executed"] > before + 3)
    finally:
        plans.stop()
    wait_until("every plan has its result", lambda: not plans.audit()["without_result"])
    wait_until("nothing is pending", lambda: plans.audit()["pending"] == 0)
    found = plans.audit()
    assert found["sent"] > 50
    assert found["with_several"] == []
    # While the services restart, an opening plan may be denied for want of a fresh position.
    assert found["executed"] > found["sent"] / 2, found
    wait_until(
        "the exchange has what the results say",
        lambda: float(plans.audit()["position"]) == float(found["filled"]),
    )


def test_an_unknown_release_changes_nothing_and_lists_those_that_are_kept() -> None:
    release, running = stage.current(), stage.processes()
    done = stage.rollback("-e", "version=0.0.0-nonsense")
    assert done.code == 2
    assert "there is no release 0.0.0-nonsense on this host" in done.text
    assert f"{release} (current)" in done.text
    assert f"{stage.previous()} (previous)" in done.text
    assert stage.current() == release
    assert stage.processes() == running


def test_a_killed_host_stays_killed_through_a_deployment_and_a_rollback() -> None:
    stage.run("exitctl kill --reason 'a drill'")
    try:
        release, target = stage.current(), stage.previous()
        done = stage.rollback()
        assert done.code == 0, done.text[-3000:]
        assert stage.releases_that_run() == {target}
        done = stage.deploy("new")
        assert done.code == 0, done.text[-3000:]
        assert stage.releases_that_run() == {release}
        assert stage.proof("killed").code == 0
        places = json.loads(stage.run("exitctl status --json").text)["kill_switch"]["places"]
        assert {place["name"]: place["state"] for place in places}["redis"] == "ON"
        assert stage.run("cat /var/lib/quantum/kill_switch").text.strip() == "on"
    finally:
        stage.run("exitctl resume --reason 'the drill is over'")
    wait_until("it is live again", lambda: stage.proof("live").code == 0)
