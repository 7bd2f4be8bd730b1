"""After a reboot everything is up again by itself, as it was."""

from __future__ import annotations

from stage import SERVICES, TIMERS, is_fit, outcomes, started, until
from testinfra.host import Host


def test_everything_is_up_again_after_a_reboot(host: Host) -> None:
    until("the host is fit", lambda: is_fit(host))
    before, history = started(host), outcomes(host)["history"]
    host.run("systemctl reboot")
    until("another boot", lambda: started(host) not in ("", before), timeout_s=60)
    until("the host is fit again", lambda: is_fit(host), timeout_s=60)
    assert host.check_output("systemctl is-system-running --wait") == "running"
    for unit in (*SERVICES, "redis-server", *(f"{name}.timer" for name in TIMERS)):
        assert host.service(unit).is_running, unit
    # What Redis knew it still knows.
    assert outcomes(host)["history"] == history
