"""From whatever raises an alert to whoever must be woken, through every outage on the way."""

from __future__ import annotations

from stage import SECRETS, Stage, until

COURIER = "quantum-alerts.service"
APPLY = "quantum-apply-layer.service"


def test_outages_of_the_receiver_and_restarts_arrive_once_each_in_order(stage: Stage) -> None:
    stage.raise_numbers("1")
    until("the first", lambda: stage.numbers() == ["1"])
    stage.run("systemctl stop receiver.service")
    stage.raise_numbers("2", "3", "4")
    until("they lie on disk", lambda: stage.record()["webhook:waiting"] == "3")
    stage.run(f"systemctl restart {COURIER}")
    stage.raise_numbers("5", "6")
    until("all of them do", lambda: stage.record()["webhook:waiting"] == "5")
    stage.run(f"systemctl kill --signal=KILL {COURIER}")
    until("it is back", lambda: stage.is_ready(COURIER))
    stage.run("systemctl start receiver.service")
    until("all arrive", lambda: len(stage.numbers()) >= 6, 90)
    until("all is delivered", lambda: stage.record()["waiting"] == "0")
    assert stage.numbers() == ["1", "2", "3", "4", "5", "6"]


def failed(stage: Stage, unit: str) -> int:
    return sum(one["details"]["unit"] == unit for one in stage.alerts("SERVICE_FAILED"))


def test_a_unit_that_fails_is_told(stage: Stage) -> None:
    """Wrong configuration: it ends, and nobody starts it again."""
    before = failed(stage, APPLY)
    stage.run(f"mkdir -p /run/systemd/system/{APPLY}.d")
    wrong = "[Service]\\nEnvironment=REDIS_URL=\\nEnvironmentFile=\\n"
    stage.run(f"printf '{wrong}' >/run/systemd/system/{APPLY}.d/wrong.conf")
    stage.host.run(f"systemctl daemon-reload; systemctl restart {APPLY}")
    try:
        until("its failure arrives", lambda: failed(stage, APPLY) > before)
    finally:
        stage.run(
            f"rm -r /run/systemd/system/{APPLY}.d; systemctl daemon-reload;"
            f" systemctl reset-failed {APPLY}; systemctl start {APPLY}"
        )
    told = [one for one in stage.alerts("SERVICE_FAILED") if one["details"]["unit"] == APPLY]
    assert "configuration" in told[-1]["details"]["why"]


def test_the_end_of_redis_itself_is_told_while_redis_is_down(stage: Stage) -> None:
    unit = "redis-server.service"
    before = failed(stage, unit)
    stage.run(
        f"mkdir -p /run/systemd/system/{unit}.d;"
        f" printf '[Service]\\nRestart=no\\n' >/run/systemd/system/{unit}.d/stay.conf;"
        f" systemctl daemon-reload; systemctl kill --signal=KILL {unit}"
    )
    try:
        until("it arrives without Redis", lambda: failed(stage, unit) > before)
        assert not stage.is_ready(unit)
    finally:
        stage.run(
            f"rm -r /run/systemd/system/{unit}.d; systemctl daemon-reload;"
            f" systemctl reset-failed {unit}; systemctl start {unit}"
        )
    stage.raise_numbers("7")
    until("what comes after arrives too", lambda: stage.numbers()[-1] == "7")


def test_the_canary_arrives_and_the_dead_mans_switch_is_told(stage: Stage) -> None:
    canaries, pings = len(stage.alerts("CANARY")), len(stage.got("ping"))
    stage.run("systemctl start quantum-alerts-canary.service")
    until("the canary", lambda: len(stage.alerts("CANARY")) == canaries + 1)
    until("the ping", lambda: len(stage.got("ping")) == pings + 1)
    until("the record", lambda: float(stage.record()["canary_epoch"]) > 0)
    timer = stage.run("systemctl show --property ActiveState quantum-alerts-canary.timer")
    assert timer == "ActiveState=active"


def test_a_canary_that_the_host_was_off_for_is_made_up_for(stage: Stage) -> None:
    canaries, timer = len(stage.alerts("CANARY")), "quantum-alerts-canary.timer"
    stage.run(
        f"systemctl stop {timer}; touch -d '2 days ago' /var/lib/systemd/timers/stamp-{timer};"
        f" systemctl start {timer}"
    )
    until("it comes late", lambda: len(stage.alerts("CANARY")) == canaries + 1)


def test_a_standing_trouble_is_told_once_a_window(stage: Stage) -> None:
    """The same unit again and again, within the window of twenty seconds."""
    name = "quantum-failed@molecule.service.service"
    for _ in range(3):
        stage.run(f"systemctl start {name}")
    until("the first", lambda: failed(stage, "molecule.service") >= 1)
    until("and, when the window closes, how many more", lambda: _repeated(stage) == [2])
    assert failed(stage, "molecule.service") == 2


def _repeated(stage: Stage) -> list[int]:
    found = [
        o for o in stage.alerts("SERVICE_FAILED") if o["details"]["unit"] == "molecule.service"
    ]
    return [one["details"]["repeated"] for one in found if "repeated" in one["details"]]


def test_the_urls_are_seen_nowhere(stage: Stage) -> None:
    places = (
        "journalctl --no-pager --boot",
        "ps -e -o args",
        'cat /var/tmp/receiver.jsonl | sed \'s/"path": "[^"]*"//g\'',
        "systemctl show quantum-alerts.service prometheus.service prometheus-alertmanager.service",
    )
    for place in places:
        said = stage.run(place)
        assert said
        for secret in SECRETS:
            assert secret not in said, f"{secret} in {place}"
