"""A host that is rebooted in the middle of a rotation. The last test: no tunnel survives it."""

from __future__ import annotations

from hosts import wait_until
from stage import Stage, assert_well, new_keys


def test_after_a_reboot_half_way_the_host_works_and_the_next_run_ends_it(stage: Stage) -> None:
    old, new = stage.present_keys(), stage.accept(new_keys())
    stage.rotate_on_host(new.as_given(), "rotation_renamed:3")
    boot = stage.run(
        "cat /proc/sys/kernel/random/boot_id; systemctl show -P UserspaceTimestamp"
    ).text
    stage.run("systemctl reboot", check=False)
    wait_until("another boot", lambda: is_other_boot(stage, boot), timeout_s=60)
    stage.assert_fit()
    again = stage.rotate()
    assert again.code == 0, again.text
    assert_well(stage, old)


def is_other_boot(stage: Stage, boot: str) -> bool:
    command = "cat /proc/sys/kernel/random/boot_id; systemctl show -P UserspaceTimestamp"
    said = stage.run(command, check=False)
    return said.code == 0 and said.text != boot
