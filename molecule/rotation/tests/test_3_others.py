"""A file edited by hand, a host that is killed, signing keys, and passwords of Redis."""

from __future__ import annotations

import pytest
import redis
from hosts import wait_until
from load import Load
from stage import NAMES, Stage, new_keys


def test_the_source_edited_by_hand_is_derived_and_proven(stage: Stage) -> None:
    new = stage.accept(new_keys())
    lines = [
        f"s/^BINANCE_TESTNET_{name}=.*/BINANCE_TESTNET_{name}={value}/"
        for name, value in zip(NAMES, new.values, strict=True)
    ]
    stage.run("sed -i -f /dev/stdin /etc/quantum/testnet.env", stdin="\n".join(lines))
    done = stage.rotate()
    assert done.code == 0, done.text
    assert stage.uses(new)
    again = stage.rotate()
    assert "changed=0" in again.text


def test_a_killed_host_stays_killed(stage: Stage) -> None:
    stage.run("exitctl kill --reason drill")
    try:
        done = stage.rotate(keys=stage.accept(new_keys()))
        assert done.code == 0, done.text
        assert "expecting killed" in done.text
        assert stage.status()["kill_switch"]["on"]
    finally:
        wait_until("the switch is released", lambda: released(stage), every_s=1)
    stage.assert_fit()


def released(stage: Stage) -> bool:
    """It is refused while positions are not known."""
    return stage.run("exitctl resume --reason drill", check=False).code == 0


@pytest.mark.parametrize("kind", ["signing", "redis"])
def test_no_plan_is_lost_while_other_secrets_change(stage: Stage, kind: str) -> None:
    before = {name: stage.variables(f"{name}.env") for name in ("signing", "redis")}
    with Load(stage.bus("intent_bridge")) as load:
        done = stage.rotate("--tags", kind, "-vvv", "--diff")
    assert done.code == 0, done.text
    load.assert_each_answered_once(stage.bus(), stage.exchange.orders)
    after = {name: stage.variables(f"{name}.env") for name in ("signing", "redis")}
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {kind}
    secrets = [value for files in (before, after) for value in files[kind].values()]
    assert [value for value in secrets if value and value in done.text] == []
    stage.assert_fit()


def test_only_the_new_signing_key_is_known(stage: Stage) -> None:
    public = {
        name: value
        for name, value in stage.variables("signing.env").items()
        if name.startswith("QUANTUM_PUBLIC_KEY_")
    }
    for file in ("apply-layer", "intent-executor", "position-state-brain", "exitbrain-v35"):
        assert public.items() <= stage.variables(f"{file}.env").items()


def test_the_old_password_is_refused_afterwards(stage: Stage) -> None:
    old = stage.bus("proof")
    assert stage.rotate("--tags", "redis").code == 0
    with pytest.raises(redis.AuthenticationError):
        old.ping()
    assert stage.bus("proof").ping()
    for unit, file in (("quantum-alerts", "alerts.env"), ("quantum-metrics", "metrics.env")):
        pid = stage.run(f"systemctl show --property=MainPID --value {unit}").text.strip()
        environ = stage.run(f"tr '\\0' '\\n' </proc/{pid}/environ").text.splitlines()
        assert f"REDIS_URL={stage.variables(file)['REDIS_URL']}" in environ, unit


def test_a_producer_goes_on_with_its_old_password_until_the_overlap_ends(stage: Stage) -> None:
    before = stage.bus("intent_bridge")
    done = stage.rotate("--tags", "producers", "-vvv", "--diff")
    assert done.code == 0, done.text
    after = stage.bus("intent_bridge")
    for producer in (before, after):
        producer.connection_pool.disconnect()  # whoever stays connected is not asked again
        assert producer.ping()
    for client in (before, after):
        assert client.connection_pool.connection_kwargs["password"] not in done.text
    again = stage.rotate("--tags", "producers")
    assert "changed=0" in again.text, again.text
    # Whatever else changes meanwhile, both stay.
    assert stage.rotate("--tags", "redis").code == 0
    before.connection_pool.disconnect()
    assert before.ping()
    ended = stage.rotate("--tags", "producers", "-e", "rotation_end_overlap=true")
    assert ended.code == 0, ended.text
    before.connection_pool.disconnect()
    with pytest.raises(redis.AuthenticationError):
        before.ping()
    after.connection_pool.disconnect()
    assert after.ping()


def test_a_deployment_afterwards_finds_redis_as_it_wants_it(stage: Stage) -> None:
    users = stage.bus("maintenance").acl_users()
    revision = stage.run("grep -o 'revision-[0-9a-f]*' /etc/redis/quantum.acl").text.strip()
    assert [user for user in users if user.startswith("revision-")] == [revision]
