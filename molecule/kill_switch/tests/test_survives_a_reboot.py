"""The switch through a reboot of the host. The last test: no tunnel survives it."""

from __future__ import annotations

import json

from conftest import start_load
from hosts import tunnels, wait_until
from stage import HOST, KILL_FILE, Stage

# The file systems that the other tests filled are gone after a reboot: what is on them first
# moves to the disk beneath.
TO_DISK = """
systemctl stop redis-server.service
for path in /var/lib/quantum /var/lib/redis; do
  owner=$(stat --format=%U:%G $path)
  mkdir /root/kept && cp -a $path/. /root/kept/ && umount $path && cp -a /root/kept/. $path/ &&
  chown $owner $path && chmod 0755 $path && rm -r /root/kept || exit 1
done
systemctl start redis-server.service
"""
BOOT = "systemctl show --property=UserspaceTimestampMonotonic --value"


def test_it_is_still_on_after_a_reboot_and_nothing_is_sent(loaded: Stage) -> None:
    loaded.assert_trading()
    loaded.engage()
    loaded.run(TO_DISK)
    boot = loaded.run(BOOT).text
    loaded.run("systemctl reboot", check=False)
    wait_until("another boot", lambda: is_other_boot(loaded, boot), timeout_s=60)
    wait_until("the exchange is up", lambda: exchange_is_up(loaded), timeout_s=60)
    with tunnels(HOST, 6379, 8091) as (redis_port, exchange_port):
        stage = Stage(redis_port, exchange_port)
        assert stage.run(f"cat {KILL_FILE}").text.strip() == "on"
        wait_until("the host says that it is on", lambda: is_killed(stage))
        start_load(stage)
        # The exchange's book of orders began with this boot.
        stage.assert_stopped(back_ms=0)
        assert is_killed(stage)


def is_other_boot(stage: Stage, boot: str) -> bool:
    said = stage.run(BOOT, check=False)
    return said.code == 0 and said.text != boot


def exchange_is_up(stage: Stage) -> bool:
    return stage.run("systemctl is-active quantum-paper-exchange.service", check=False).code == 0


def is_killed(stage: Stage) -> bool:
    """As the host itself says, by both places; Redis still knows who and why."""
    said = stage.run("exitctl status --json", check=False)
    switch = json.loads(said.text).get("kill_switch", {}) if said.code == 0 else {}
    on = {place["name"] for place in switch.get("places", []) if place["state"] == "ON"}
    return {"file", "redis"} <= on and "a drill" in json.dumps(switch)
