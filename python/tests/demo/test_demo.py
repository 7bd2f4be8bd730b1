"""The demonstration, end to end over real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..stack import Stack


def test_a_falling_price_closes_the_position_by_a_plan_of_the_owner(stack: Stack) -> None:
    done = stack.run("quantum_exit.demo", "--speed", "300")
    assert done.code == 0, done
    steps = [
        "position opened",
        "brain guards it",
        "price at the stop",
        "signed intent",
        "plan",
        "permit of P3.3",
        "order at the exchange",
        "filled",
        "result",
    ]
    timeline = done.out.partition("TIMELINE")[2]
    places = [timeline.index(f"  {step} ") for step in steps]
    assert places == sorted(places), done
    assert stack.exchange.position("AVAXUSDT") == 0
    accepted = [order for order in stack.exchange.orders() if order.accepted]
    assert [order.params["side"] for order in accepted] == ["BUY", "SELL"]


def test_a_position_of_an_earlier_run_is_taken(stack: Stack) -> None:
    stack.exchange.set_position("AVAXUSDT", "5")
    done = stack.run("quantum_exit.demo", "--speed", "300")
    assert done.code == 0, done
    assert stack.exchange.position("AVAXUSDT") == 0
    again = stack.run("quantum_exit.demo", "--speed", "300", "--seed", "7")
    assert again.code == 0, again


def test_with_the_switch_on_it_says_so_and_opens_nothing(stack: Stack) -> None:
    assert stack.exitctl("kill", "--reason", "a test").code == 0
    done = stack.run("quantum_exit.demo", "--speed", "300", "--patience", "1")
    assert done.code == 2, done
    assert "kill switch is on" in done.err
    assert stack.exchange.orders() == []


def test_a_broken_file_is_refused_before_anything_is_done(stack: Stack, tmp_path: Path) -> None:
    broken = tmp_path / "broken.csv"
    broken.write_text("1738540800000,27.6,27.7,27.5,27.6,1,1738540859999,1,1,1,1,0\nnonsense\n")
    done = stack.run("quantum_exit.demo", "--prices", str(broken))
    assert done.code == 3, done
    assert "line 2" in done.err
    assert stack.exchange.orders() == []


def test_a_brain_in_shadow_is_named(stack: Stack) -> None:
    stack.kill("exitbrain")
    stack.start("exitbrain", environ={"EXIT_MODE": "LEGACY"})
    done = stack.run("quantum_exit.demo", "--patience", "1")
    assert done.code == 2, done
    assert "EXIT_MODE is not EXIT_BRAIN_V3" in done.err


def test_a_fall_that_is_too_small_is_told_apart(stack: Stack) -> None:
    done = stack.run("quantum_exit.demo", "--speed", "6000", "--depth-pct", "0.5")
    assert done.code == 2, done
    assert "never reached the stop" in done.err
    assert stack.exchange.position("AVAXUSDT") > 0


def test_without_a_paper_exchange_it_could_not_run(stack: Stack) -> None:
    stack.exchange.stop()
    done = stack.run("quantum_exit.demo", "--patience", "1")
    assert done.code == 3, done
    assert "no answer from" in done.err


def test_a_recorded_crash_closes_a_long_by_its_stop(stack: Stack, data_dir: Path) -> None:
    file = data_dir / "klines_um_1m" / "AVAXUSDT-1m-2025-02-03T00_06.slice.csv"
    if not file.is_file():
        pytest.skip(f"no {file.name} in the recorded data")
    done = stack.run("quantum_exit.demo", "--prices", str(file), "--speed", "1200")
    assert done.code == 0, done
    assert "STOP_LOSS" in done.out
    assert stack.exchange.position("AVAXUSDT") == 0
