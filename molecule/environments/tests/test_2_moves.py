"""There and back: all units together, in SHADOW, with the kill switch on."""

from __future__ import annotations

from decimal import Decimal

from stage import ONESHOTS, SYMBOL, UNITS, Stage

MAINNET = ("mainnet", "-e", "confirm=mainnet")
TESTNET = ("testnet", "-e", "confirm=testnet")
LIVE = "credentials_exit_mode=EXIT_BRAIN_V3 credentials_exit_executor_mode=LIVE"
BROKEN = '{"credentials_extra": {"intent-executor": {"INTENT_EXECUTOR_MAX_ORDER_VALUE": "much"}}}'


def assert_on(stage: Stage, environment: str) -> None:
    """Every unit, as its process was started, and as it would be started again."""
    flag = str(environment == "testnet").lower()
    keys = set()
    for unit in UNITS:
        found = stage.process(unit)
        assert found["QUANTUM_ENVIRONMENT"] == environment, unit
        if "BINANCE_API_KEY" in found:
            assert found["BINANCE_TESTNET"] == found["USE_BINANCE_TESTNET"] == flag
            keys.add(found["BINANCE_API_KEY"])
    assert keys == keys_of(stage, environment)
    for unit in (*UNITS, *ONESHOTS):
        files = stage.run(f"systemctl show --property=EnvironmentFiles {unit}.service").text
        assert f"-{environment}.env" in files.splitlines()[-1], unit
        assert len(files.splitlines()) == 2
    beats = {name: each["pid"] for name, each in stage.status()["services"].items()}
    for unit, name in UNITS.items():
        pid = stage.run(f"systemctl show --property=MainPID --value {unit}.service").text.strip()
        assert str(beats[name]) == pid, f"{unit}: its heartbeat is of another process"


def keys_of(stage: Stage, environment: str) -> set[str]:
    if environment == "mainnet":
        return {stage.keys["api_key"], stage.keys["read_api_key"]}
    found = stage.variables("testnet.env")
    return {found["BINANCE_TESTNET_API_KEY"], found["BINANCE_TESTNET_READ_API_KEY"]}


def test_check_mode_tells_and_changes_nothing(stage: Stage) -> None:
    before = stage.fingerprints()
    done = stage.deploy(*MAINNET, "-e", "positions=leave", "--check", "--diff")
    assert done.code == 0, done.text[-3000:]
    assert "environment: mainnet" in done.text
    assert "EnvironmentFile=/etc/quantum/exitbrain-mainnet.env" in done.text
    assert stage.fingerprints() == before


def test_the_override_leaves_the_position_and_all_units_move(stage: Stage) -> None:
    # As if everything had been meant to be LIVE on real money at once.
    done = stage.deploy(*MAINNET, "-e", "positions=leave", "-e", LIVE)
    assert done.code == 0, done.text[-3000:]
    assert_on(stage, "mainnet")
    assert stage.exchange["testnet"].position(SYMBOL) == 1
    status = stage.status()
    assert status["kill_switch"]["on"]
    assert status["positions"]["rows"] == []
    assert status["holds"] == []
    stage.prove("killed")
    assert stage.open_position() == "kill_switch_active"
    assert stage.exchange["mainnet"].orders() == []
    files = stage.run("ls /etc/quantum").text.split()
    assert {"exitbrain-testnet.env", "exitbrain-mainnet.env", "exitbrain-v35.env"} <= set(files)


def test_a_second_run_changes_nothing_whatever_the_inventory_hopes_for(stage: Stage) -> None:
    done = stage.deploy(*MAINNET, "-e", LIVE)
    assert done.code == 0, done.text[-3000:]
    assert "changed=0" in done.text
    # Only a person releases the switch, and then nothing is LIVE.
    stage.run("exitctl resume --reason 'a drill'")
    stage.assert_ready("SHADOW")
    stage.prove("shadow")


def test_the_routine_with_sed_works_on_the_file_that_operators_know(stage: Stage) -> None:
    file, unit = "/etc/quantum/exitbrain-v35.env", "quantum-exitbrain-v35"
    for word, on in (("true", True), ("false", False)):
        line = f"s/^EXIT_EXECUTOR_KILL_SWITCH=.*/EXIT_EXECUTOR_KILL_SWITCH={word}/"
        stage.run(f"sed -i '{line}' {file} && systemctl restart {unit}")
        assert stage.process(unit)["EXIT_EXECUTOR_KILL_SWITCH"] == word
        stage.assert_ready("KILLED" if on else "SHADOW")


def test_a_drop_in_turned_by_hand_moves_no_service(stage: Stage) -> None:
    unit = "quantum-position-state-brain"
    file = f"/etc/systemd/system/{unit}.service.d/50-environment.conf"
    stage.run(f"sed -i s/-mainnet.env/-testnet.env/ {file} && systemctl daemon-reload")
    try:
        stage.run(f"systemctl restart {unit}", check=False)
        shown = stage.run(f"systemctl show --property=ExecMainStatus --value {unit}").text
        assert shown.strip() == "78"
    finally:
        stage.run(f"sed -i s/-testnet.env/-mainnet.env/ {file} && systemctl daemon-reload")
        stage.run(f"systemctl reset-failed {unit}; systemctl restart {unit}")
    stage.assert_ready("SHADOW")


def test_keys_that_the_test_network_refuses_do_not_bring_it_back(stage: Stage) -> None:
    key = stage.variables("testnet.env")["BINANCE_TESTNET_READ_API_KEY"]
    secret = stage.variables("testnet.env")["BINANCE_TESTNET_READ_SECRET_KEY"]
    before = stage.fingerprints()
    stage.exchange["testnet"].revoke_key(key)
    try:
        done = stage.deploy(*TESTNET)
        assert done.code != 0
        assert "the reading key of testnet is refused" in done.text
        assert key not in done.text
        assert stage.fingerprints() == before
    finally:
        stage.exchange["testnet"].add_key(key, secret, may_trade=False)


def test_a_move_that_fails_half_way_is_taken_back(stage: Stage) -> None:
    done = stage.deploy(*TESTNET, "-e", BROKEN)
    assert done.code != 0
    assert "is back on release" in done.text, done.text[-3000:]
    assert_on(stage, "mainnet")
    status = stage.status()
    assert not status["kill_switch"]["on"], "it was stopped by the move alone"
    assert status["mode"]["state"] == "SHADOW"
    assert stage.run("ls /var/lib/quantum").text.split() == ["deployed", "kill_switch"]
    stage.run("systemctl is-active exitbrain-proof.timer quantum-policy-refresh.timer")


def test_a_move_whose_operator_is_killed_half_way_lets_nothing_trade(stage: Stage) -> None:
    """Nor may somebody begin anew who does not know how far it got. The next test's run, which
    names where it was going, finishes it."""
    stage.deploy_and_die(*TESTNET)
    assert stage.status()["kill_switch"]["on"]
    done = stage.deploy("mainnet", "-e", "expect=live")
    assert done.code != 0, done.text[-3000:]
    assert stage.status()["kill_switch"]["on"]
    assert stage.exchange["mainnet"].orders() == []


def test_back_where_it_was_it_knows_its_position_again(stage: Stage) -> None:
    done = stage.deploy(*TESTNET)
    assert done.code == 0, done.text[-3000:]
    assert_on(stage, "testnet")
    status = stage.status()
    assert [row["position_amt"] for row in status["positions"]["rows"]] == ["1"]
    assert status["holds"] == []
    assert Decimal(stage.bus().hget(f"quantum:position:ledger:{SYMBOL}", "position_amt")) == 1
    alerts = [fields["alert_type"] for _, fields in stage.bus().xrange("quantum:stream:alerts")]
    assert "UNAUTHORIZED_POSITION_CHANGE" not in alerts


def test_live_needs_both_releases(stage: Stage) -> None:
    done = stage.deploy("testnet", "-e", "expect=live")
    assert done.code == 0, done.text[-3000:]
    assert stage.status()["kill_switch"]["on"]
    stage.run("exitctl resume --reason 'a drill'")
    stage.assert_ready("LIVE")
    stage.prove("live")
