"""What becomes of an answer that nobody takes: the exit status still tells what was done."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from quantum_exit import keys

from .shell import Operator


def run_into(operator: Operator, stdout: int, *arguments: str, **environ: str) -> tuple[int, str]:
    """Exit status and what stood on standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "quantum_exit.exitctl", *arguments],
        env={**operator.environ, **environ},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stderr


def run_into_nobody(operator: Operator, *arguments: str) -> tuple[int, str]:
    """As before `| head -0`: the reader has left."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return run_into(operator, writer, *arguments)
    finally:
        os.close(writer)


def run_into_a_full_disk(operator: Operator, *arguments: str) -> tuple[int, str]:
    with open("/dev/full", "w") as full:
        return run_into(operator, full.fileno(), *arguments)


@pytest.mark.parametrize(
    "arguments",
    [("status",), ("audit", "--json"), ("shadow-report",), ("top", "--once")],
    ids=lambda arguments: arguments[0],
)
def test_a_reader_who_left_is_no_failure(operator: Operator, arguments: tuple[str, ...]) -> None:
    assert run_into_nobody(operator, *arguments) == (0, "")


def test_a_verdict_stays_what_it_is_without_a_reader(operator: Operator) -> None:
    for form in ((), ("--nagios",)):
        asked = ("proof", "apply", "--expect", "live", *form)
        code = operator.run(*asked).code
        assert code in (1, 2)
        assert run_into_nobody(operator, *asked) == (code, "")
    assert run_into_nobody(operator, "report", "--html")[0] == operator.run("report").code


def test_the_switch_is_told_as_set_where_the_disk_takes_no_answer(operator: Operator) -> None:
    code, error = run_into_a_full_disk(operator, "kill")
    assert (code, operator.switched_on) == (0, True)
    assert "No space left" in error
    assert "Traceback" not in error


@pytest.mark.parametrize("arguments", [("status", "--json"), ("report", "--html")])
def test_an_answer_that_is_cut_off_is_not_taken_for_whole(
    operator: Operator, arguments: tuple[str, ...]
) -> None:
    code, error = run_into_a_full_disk(operator, *arguments)
    assert code == 3
    assert "No space left" in error
    assert "Traceback" not in error


def test_a_terminal_of_another_character_set_gets_its_answer(operator: Operator) -> None:
    assert "FINAL VERDICT" in operator.run("proof", "apply", PYTHONIOENCODING="latin-1").out
    operator.redis.xadd(keys.ALERTS, {"alert_type": "\u4e2d"})
    page = operator.run("report", "--html", PYTHONIOENCODING="ascii")
    assert "\u4e2d" in page.out, page


def test_json_obeys_no_terminal_either(operator: Operator) -> None:
    operator.redis.xadd(keys.ALERTS, {"alert_type": "X", "details": "\u009b2J\u202e", "id": "no"})
    done = operator.run("audit", "--json")
    assert done.json["alerts"][0]["details"] == "\u009b2J\u202e"
    assert done.out.rstrip("\n").isprintable()
    assert operator.run("audit").code == 0


def test_without_any_input_or_output_at_all(operator: Operator) -> None:
    command = f'exec "{sys.executable}" -m quantum_exit.exitctl "$0" "$@" <&- >&-'
    for arguments in (("status",), ("top",), ("kill",)):
        done = subprocess.run(
            ["bash", "-c", command, *arguments],
            env=operator.environ,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, ""), arguments


def test_a_page_goes_into_what_is_no_file_and_leaves_it_what_it_is(
    operator: Operator, tmp_path: Path
) -> None:
    """As `--out /dev/null` does, by root: it must be no ordinary file afterwards."""
    pipe, link, target = (tmp_path / name for name in ("pipe", "link", "target"))
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        # more than a pipe holds would wait for a reader; the page of an empty host is less
        operator.run("report", "--html", "--out", str(pipe))
        assert stat.S_ISFIFO(pipe.stat().st_mode)
        assert os.read(reading, 1 << 20).startswith(b"<!doctype html>")
    finally:
        os.close(reading)
    target.touch()
    link.symlink_to(target)
    operator.run("report", "--html", "--out", str(link))
    assert link.is_symlink()
    assert target.read_text().startswith("<!doctype html>")


def test_a_page_that_cannot_be_written_leaves_nothing_behind(
    operator: Operator, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    done = operator.run("report", "--html", "--out", str(place))
    assert done.code == 3, done
    assert str(place) in done.err
    assert {path.name for path in tmp_path.iterdir()} == {"kill_switch", "place"}


def test_a_long_period_is_read_in_small_steps(operator: Operator) -> None:
    """Redis answers nobody else meanwhile: not the executor either."""
    with operator.redis.pipeline(transaction=False) as writes:
        for number in range(2500):
            for stream in (keys.APPLY_RESULT, keys.EXIT_SHADOW):
                writes.xadd(stream, {"plan_id": str(number)})
        writes.execute()
    operator.redis.config_resetstat()
    done = operator.run("shadow-report", "--json")
    assert done.json["unreadable"] == 2500
    stats = operator.redis.info("commandstats")
    calls = sum(stats[f"cmdstat_{name}"]["calls"] for name in ("xrange", "xrevrange") if
                f"cmdstat_{name}" in stats)  # fmt: skip
    assert calls >= 10


def test_times_that_are_no_numbers_are_not_known(operator: Operator) -> None:
    """A reader of JSON that keeps to the standard knows no NaN."""
    operator.beat("exitbrain", ts_epoch="nan")
    operator.beat("apply_layer", ts_epoch="inf")
    operator.redis.hset(keys.SNAPSHOT_STATE, "ts_epoch", "nan")
    done = operator.run("status", "--json")
    assert "NaN" not in done.out
    assert "Infinity" not in done.out
    assert not done.json["services"]["exitbrain"]["ready"]
    assert "never read" in operator.run("status").out
