"""The four services: sandboxed, ready, and back by themselves whatever ends them."""

from __future__ import annotations

import json
import re
import time

import pytest
from conftest import AsUser
from stage import SERVICES, TIMERS, is_fit, main_pid, until
from testinfra.host import Host

TELLS_OF_EACH_END = 254
"""The first systemd whose OnFailure= runs also for a service that is started again."""


@pytest.mark.parametrize("unit", SERVICES)
def test_runs_as_its_own_user_and_at_boot(host: Host, unit: str) -> None:
    service = host.service(unit)
    assert service.is_running
    assert service.is_enabled
    process = host.process.get(pid=main_pid(host, unit))
    assert process.user == SERVICES[unit][0]


@pytest.mark.parametrize("unit", SERVICES)
def test_tells_systemd_and_redis_that_it_is_ready(host: Host, as_user: AsUser, unit: str) -> None:
    beat = as_user("proof").hgetall(f"quantum:heartbeat:{SERVICES[unit][1]}")
    assert beat["ready"] == "true", beat
    assert time.time() - float(beat["ts_epoch"]) < 5
    assert int(beat["pid"]) == main_pid(host, unit)
    assert host.check_output(f"systemctl show {unit} --property Type --value") == "notify"


@pytest.mark.parametrize(
    ("unit", "most"),
    [*((unit, 1.5) for unit in SERVICES), *((timer, 2.0) for timer in TIMERS)],
)
def test_exposure_is_low(host: Host, unit: str, most: float) -> None:
    verdict = host.check_output(f"systemd-analyze security {unit} --no-pager | tail -1")
    found = re.search(r"\.service: ([0-9.]+)", verdict)
    assert found is not None, verdict
    assert float(found[1]) <= most


@pytest.mark.parametrize("name", TIMERS)
def test_timer_waits_for_its_time(host: Host, name: str) -> None:
    timer = host.service(f"{name}.timer")
    assert timer.is_running
    assert timer.is_enabled


@pytest.mark.parametrize("name", TIMERS)
def test_what_the_timer_starts_ends_well(host: Host, name: str) -> None:
    assert host.run(f"systemctl start {name}.service").rc == 0
    assert host.check_output(f"systemctl show {name} --property Result --value") == "success"


@pytest.mark.parametrize("unit", SERVICES)
def test_is_back_after_kill_9(host: Host, as_user: AsUser, unit: str) -> None:
    before = main_pid(host, unit)
    host.check_output(f"kill -9 {before}")
    key = f"quantum:heartbeat:{SERVICES[unit][1]}"

    def back() -> bool:
        beat = as_user("proof").hgetall(key)
        return beat["ready"] == "true" and int(beat["pid"]) not in (0, before)

    until(f"{unit} is ready again", back)
    assert main_pid(host, unit) != before
    until("the host is fit again", lambda: is_fit(host))


def test_who_was_started_again_is_told_of(host: Host, as_user: AsUser) -> None:
    """By systemd at once, and where that keeps it to itself by the next look of the watch."""
    unit, own = "quantum-apply-layer.service", "quantum-apply-layer"
    by_systemd = int(host.check_output("systemctl --version").split()[1]) >= TELLS_OF_EACH_END
    host.check_output("systemctl start quantum-exit-owner-watch.service")
    newest = as_user("proof").xrevrange("quantum:stream:alerts", count=1)
    since = f"({newest[0][0]}" if newest else "-"

    def told() -> list[bool]:
        """Of each alert about it, whether it is the watch's."""
        entries = as_user("proof").xrange("quantum:stream:alerts", min=since)
        details = [json.loads(fields["details"]) for _, fields in entries]
        return ["restarts" in one for one in details if one.get("unit") == unit]

    for _ in range(2):
        before = main_pid(host, own)
        host.check_output(f"kill -9 {before}")
        until("it is started again", lambda pid=before: main_pid(host, own) not in (0, pid))
    if by_systemd:
        until("both ends are told", lambda: told() == [False, False])
    for _ in range(2):
        host.check_output("systemctl start quantum-exit-owner-watch.service")
    assert told() == ([False, False] if by_systemd else [True])
    until("the host is fit again", lambda: is_fit(host))


def test_no_service_asks_redis_for_more_than_it_may(host: Host) -> None:
    for unit in (*SERVICES, *TIMERS):
        said = host.run(f"journalctl --unit {unit} --no-pager --grep 'NOPERM|no permissions'")
        assert "-- No entries --" in said.stdout or said.rc == 1, said.stdout
