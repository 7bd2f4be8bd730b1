"""What counts as said already, and what never does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quantum_exit.courier.spool import DEADMAN, Spool, open_spool
from quantum_exit.courier.taken import Taken

_NOW = 1_000_000.0


class Line:
    """A spool for one destination, with a clock of its own."""

    def __init__(self, path: Path, window_s: float = 60.0) -> None:
        self.spool = Spool(path)
        self.spool.serve(["webhook"])
        self.window_s = window_s
        self.now = _NOW
        self._n = 0

    def say(self, kind: str = "LAYER_DOWN", severity: str = "CRITICAL", **details: Any) -> bool:
        """True: it is sent."""
        self._n += 1
        alert = Taken(f"id-{self._n}", f"{self._n}-0", kind, severity, self.now, details)
        return bool(self.spool.take([alert], self.window_s, self.now))

    def after(self, seconds: float) -> None:
        self.now += seconds
        self.spool.close_windows(self.now)

    def waiting(self) -> list[Taken]:
        return [one.alert for one in self.spool.next_for("webhook", 100)]


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return Line(tmp_path / "spool")


def test_the_same_with_other_figures_is_a_repeat(line: Line) -> None:
    assert line.say(service="a", why="its heartbeat is 12 s old")
    assert not line.say(service="a", why="its heartbeat is 312.5 s old")
    assert line.say(service="b", why="its heartbeat is 12 s old")
    assert line.say(service="a", why="not ready")
    assert line.say(service="a", why="its heartbeat is 12 s old"), "another thing was said since"


def test_worse_is_no_repeat(line: Line) -> None:
    assert line.say("POLICY_STALE", "WARNING", why="x")
    assert line.say("POLICY_STALE", "CRITICAL", why="x")


def test_ended_and_begun_again_is_no_repeat(line: Line) -> None:
    for ended in (False, True, False):
        assert line.say("UNPROTECTED_POSITION", symbol="BTCUSDT", seconds=31.2, ended=ended)


@pytest.mark.parametrize(
    "kind",
    [
        *("KILL_SWITCH_ENGAGED", "KILL_SWITCH_RELEASED", "MODE_CHANGED", "MANUAL_LANE_ENABLED"),
        *("DELEGATION_GRANTED", "UNKNOWN_OUTCOME", "UNAUTHORIZED_POSITION_CHANGE", "CANARY"),
    ],
)
def test_an_event_is_never_a_repeat(line: Line, kind: str) -> None:
    assert line.say(kind, why="x")
    assert line.say(kind, why="x")


def test_a_window_that_closes_tells_how_many_there_were(line: Line) -> None:
    line.say(service="a", why="x")
    line.after(10)
    line.say(service="a", why="x")
    line.say(service="a", why="x")
    line.after(49)
    assert len(line.waiting()) == 1
    line.after(2)
    first, told = line.waiting()
    assert told.details == {"repeated": 2, "within_s": 61, "service": "a", "why": "x"}
    assert told.alert_id == "id-3-repeats"
    assert line.say(service="a", why="x"), "a new window"
    assert first.alert_id == "id-1"


def test_what_was_counted_is_told_before_what_differs(line: Line) -> None:
    line.say(service="a", why="x")
    line.say(service="a", why="x")
    line.say(service="a", why="y")
    assert [one.details.get("repeated", one.details["why"]) for one in line.waiting()] == [
        "x",
        1,
        "y",
    ]


def test_a_window_nobody_came_back_in_closes_in_silence(line: Line) -> None:
    line.say(service="a", why="x")
    line.after(61)
    assert len(line.waiting()) == 1


def test_a_clock_that_was_set_back_silences_nothing(line: Line) -> None:
    line.say(service="a", why="x")
    line.now -= 86_400
    assert line.say(service="a", why="x")


def test_windows_and_queues_outlive_the_process(line: Line, tmp_path: Path) -> None:
    line.say(service="a", why="x")
    line.spool.close()
    again = Line(tmp_path / "spool")
    again._n = 1
    assert not again.say(service="a", why="x")
    assert len(again.waiting()) == 1


def test_a_destination_that_is_no_more_holds_up_nothing(tmp_path: Path) -> None:
    line = Line(tmp_path / "spool")
    line.say("CANARY")
    line.spool.serve(["slack"])
    assert line.spool.record()["waiting"] == "0"
    assert line.spool.record()["last_alert_id"] == "id-1"


def test_the_dead_mans_queue_has_canaries_alone_and_last(tmp_path: Path) -> None:
    line = Line(tmp_path / "spool")
    line.spool.serve(["webhook", DEADMAN])
    line.say("MODE_CHANGED")
    line.say("CANARY")
    assert line.spool.next_for(DEADMAN, 10) == []
    first, canary = line.spool.next_for("webhook", 10)
    line.spool.delivered("webhook", [first.seq], line.now)
    assert line.spool.next_for(DEADMAN, 10) == []
    line.spool.delivered("webhook", [canary.seq], line.now)
    assert [one.alert.type for one in line.spool.next_for(DEADMAN, 10)] == ["CANARY"]


def test_old_alerts_are_forgotten_but_never_one_that_waits(line: Line) -> None:
    line.say("MODE_CHANGED")
    line.say("MODE_CHANGED")
    first, _ = line.spool.next_for("webhook", 10)
    line.spool.delivered("webhook", [first.seq], line.now)
    line.spool.forget_old(line.now + 40 * 86_400)
    assert [one["alert_id"] for one in line.spool.recent(10)] == ["id-2"]
    assert len(line.waiting()) == 1


def test_a_storm_of_alerts_does_not_fill_the_disk(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quantum_exit.courier.spool.KEEP_MOST", 3)
    for _ in range(7):
        line.say("MODE_CHANGED")
    waiting = line.spool.next_for("webhook", 10)
    line.spool.delivered("webhook", [one.seq for one in waiting[1:]], line.now)
    line.spool.forget_old(line.now)
    kept = [one["alert_id"] for one in line.spool.recent(10)]
    assert kept == ["id-7", "id-6", "id-5", "id-1"], "the newest, and one that still waits"


def test_a_broken_spool_is_put_aside_and_said(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    path.write_bytes(b"not a database at all" * 100)
    spool, mishap = open_spool(path)
    assert "put aside" in mishap
    assert spool.record()["waiting"] == "0"
    assert list(tmp_path.glob("spool.broken-*"))
