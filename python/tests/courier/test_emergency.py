"""Without a disk: told from memory, by whoever can be told."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from quantum_exit.courier.emergency import Emergency
from quantum_exit.courier.http import NotDelivered
from quantum_exit.courier.taken import Taken

from ..conftest import wait_for


@dataclass
class Fake:
    name: str
    answers: threading.Event | None = None
    """It hangs until this is set."""
    fails: bool = False
    per_min: int = 600
    digests: bool = False
    got: list[str] = field(default_factory=list)

    def send(self, alerts: Sequence[Taken], *, harmless: bool = False) -> None:
        assert not harmless
        if self.answers is not None:
            self.answers.wait()
        self.got += [alert.alert_id for alert in alerts]
        if self.fails:
            raise NotDelivered("HTTP 500")


def alert(number: int, **extra: str) -> Taken:
    return Taken(f"id-{number}", "", "LAYER_DOWN", "CRITICAL", 0.0, {}, extra)


def test_one_that_hangs_keeps_alerts_from_nobody_else() -> None:
    answers = threading.Event()
    hangs, fails, well = Fake("hangs", answers), Fake("fails", fails=True), Fake("well")
    emergency = Emergency([hangs, fails, well])
    alerts = [alert(number) for number in range(7)]
    ids = [one.alert_id for one in alerts]

    def cry() -> None:
        for _ in range(3):
            emergency.cry(alerts)

    crying = threading.Thread(target=cry, daemon=True)
    crying.start()
    try:
        wait_for(lambda: well.got == ids and fails.got == ids, "all of them, once")
        crying.join(10)
        assert not crying.is_alive(), "the watchdog would end a courier that waits"
    finally:
        answers.set()
    wait_for(lambda: hangs.got == ids, "late")


def test_a_drill_wakes_nobody_and_a_canary_stays_with_the_disk() -> None:
    well, deadman = Fake("well"), Fake("deadman")
    emergency = Emergency([well, deadman])
    emergency.cry([alert(1, drill="p"), alert(2)])
    wait_for(lambda: well.got == ["id-2"], "what is meant")
    assert deadman.got == []
