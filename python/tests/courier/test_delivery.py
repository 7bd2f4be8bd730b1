"""How a destination's thread waits: by what it is told, longer each time, and not too often."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from quantum_exit.courier.delivery import DIGEST_ABOVE, DIGEST_MOST, Delivery, Pace
from quantum_exit.courier.http import NotDelivered
from quantum_exit.courier.spool import Spool
from quantum_exit.courier.taken import Taken


class Waits(threading.Event):
    """Passes no time; remembers for how long it was to be, and ends after `most`."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._most = most

    def wait(self, timeout: float | None = None) -> bool:
        if timeout:
            self.seconds.append(timeout)
            if len(self.seconds) >= self._most:
                self.set()
        return self.is_set()


class Fake:
    """Answers by its script, an error or None, and then takes everything."""

    name = "webhook"
    per_min = 1000
    digests = True

    def __init__(self, stop: threading.Event, *script: Exception | None) -> None:
        self.got: list[list[str]] = []
        self.harmless: list[bool] = []
        self._stop = stop
        self._script = list(script)
        self.expects = 1

    def send(self, alerts: Sequence[Taken], *, harmless: bool = False) -> None:
        self.harmless.append(harmless)
        error = self._script.pop(0) if self._script else None
        if error:
            raise error
        self.got.append([alert.alert_id for alert in alerts])
        if sum(map(len, self.got)) >= self.expects:
            self._stop.set()


def deliver(path: Path, fake: Fake, stop: threading.Event, alerts: int = 1) -> None:
    spool = Spool(path)
    spool.serve(["webhook"])
    taken = [Taken(f"{n}", f"{n}-0", "MODE_CHANGED", "INFO", 0.0, {}) for n in range(alerts)]
    spool.take(taken, 60, 0.0)
    fake.expects = alerts
    Delivery(fake, path, stop).run()


def test_it_waits_as_long_as_it_is_told(tmp_path: Path) -> None:
    stop = Waits(100)
    fake = Fake(stop, NotDelivered("HTTP 429", retry_after_s=120))
    deliver(tmp_path / "spool", fake, stop)
    assert stop.seconds == [120]
    assert fake.got == [["0"]]


def test_a_full_disk_shortens_no_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Spool, "trouble", full)
    stop = Waits(100)
    fake = Fake(stop, NotDelivered("HTTP 429", retry_after_s=120))
    deliver(tmp_path / "spool", fake, stop)
    assert 120 in stop.seconds
    assert fake.got == [["0"]]


def test_it_waits_longer_each_time_up_to_a_minute(tmp_path: Path) -> None:
    stop = Waits(100)
    deliver(tmp_path / "spool", Fake(stop, *[NotDelivered("HTTP 500")] * 12), stop)
    longest = [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60]
    assert len(stop.seconds) == len(longest)
    assert all(most / 2 <= s <= most for s, most in zip(stop.seconds, longest, strict=True))


def test_only_a_message_that_is_refused_twice_goes_out_in_other_words(tmp_path: Path) -> None:
    stop = Waits(100)
    down, refused = NotDelivered("HTTP 500"), NotDelivered("HTTP 400", refused=True)
    fake = Fake(stop, down, down, refused, refused, None, None)
    deliver(tmp_path / "spool", fake, stop, alerts=2)
    assert fake.harmless == [False, False, False, False, True, False]
    assert fake.got == [["0"], ["1"]]


def test_one_that_cannot_even_be_sent_is_told_and_goes_out_in_other_words(tmp_path: Path) -> None:
    """A defect of ours must neither silence what comes after it, nor be silent itself."""
    stop = Waits(100)
    fake = Fake(stop, ValueError("odd"), ValueError("odd"), None, None)
    deliver(tmp_path / "spool", fake, stop, alerts=2)
    assert fake.harmless == [False, False, True, False]
    assert fake.got == [["0"], ["1"]]
    stop = Waits(2)
    deliver(tmp_path / "another", Fake(stop, *[ValueError("odd")] * 9), stop)
    assert Spool(tmp_path / "another").record()["webhook:trouble"].startswith("internal error")


def test_many_become_lists_in_order(tmp_path: Path) -> None:
    stop = Waits(100)
    fake = Fake(stop)
    count = DIGEST_ABOVE + DIGEST_MOST
    deliver(tmp_path / "spool", fake, stop, alerts=count)
    assert [name for batch in fake.got for name in batch] == [str(n) for n in range(count)]
    assert [len(batch) for batch in fake.got] == [DIGEST_MOST] + [1] * DIGEST_ABOVE


@pytest.mark.parametrize("per_min", [1, 20])
def test_no_minute_has_more_messages_than_it_may(per_min: int) -> None:
    pace, now, sent = Pace(per_min), 0.0, []
    for _ in range(per_min * 3):
        now += pace.wait_s(now) + 0.01
        pace.sent(now)
        sent.append(now)
    for moment in sent:
        assert sum(moment <= other < moment + 60 for other in sent) <= per_min
