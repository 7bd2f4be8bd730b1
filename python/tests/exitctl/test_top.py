"""`exitctl top` in a real terminal, above a real Redis."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest

from quantum_exit import keys
from quantum_exit.alerts.model import AlertType, Severity, alert_fields
from quantum_exit.brain.store import TRACKS
from quantum_exit.brain.track import Track, dump_track
from quantum_exit.exitctl.context import Context
from quantum_exit.exitctl.top.reading import Reader
from quantum_exit.exits.params import BUILT_IN
from quantum_exit.exits.rules import begin
from quantum_exit.values import PositionSide

from ..conftest import RedisServer
from ..stack import Stack
from .shell import Operator
from .terminal import LEAVES_SCREEN, SHOWS_CURSOR, Terminal

SERVICES = ("exitbrain", "apply_layer", "position_state", "intent_executor")
ESCAPE = "\x1b[2J\x1b[31m"


def open_top(operator: Operator, *arguments: str, **environ: str) -> Terminal:
    command = [sys.executable, "-m", "quantum_exit.exitctl", "top", *arguments]
    return Terminal(command, {**operator.environ, **environ})


def hold(operator: Operator, symbol: str, amount: str, entry: str, mark: str) -> None:
    """A position as P3.3 and the Exit Brain write it down."""
    side = PositionSide.SHORT if amount.startswith("-") else PositionSide.LONG
    fields = {"position_amt": amount, "side": str(side), "entry_price": entry}
    more = {"mark_price": mark, "unrealized_pnl": "1", "ts_epoch": f"{time.time():.6f}"}
    operator.redis.hset(keys.snapshot(symbol), mapping={**fields, **more})
    rules = begin(BUILT_IN.default, side, Decimal(entry), time.time() - 60)
    track = Track(symbol, "episode", rules, Decimal(amount), abs(Decimal(amount)))
    operator.redis.hset(TRACKS, symbol, dump_track(track))


@pytest.mark.parametrize("mode", ["SHADOW", "KILLED", "LIVE"])
def test_positions_whose_exits_are_not_sent_are_told_as_unguarded(
    operator: Operator, mode: str
) -> None:
    for service in SERVICES:
        operator.beat(service, mode=mode)
    for command in (("status",), ("top", "--once")):
        assert "UNGUARDED" not in operator.run(*command).out
    hold(operator, "BTCUSDT", "0.5", "60000", "60300")
    for command in (("status",), ("top", "--once")):
        told = f"UNGUARDED 1 position(s): no exit is sent in {mode}" in operator.run(*command).out
        assert told == (mode != "LIVE")


def denied(operator: Operator, number: int, error: str = "NOT_EXIT_OWNER:source=bot") -> None:
    result = {
        "plan_id": f"plan-{number}",
        "symbol": "BTCUSDT",
        "executed": "false",
        "decision": "DENIED",
        "error": error,
        "side": "SELL",
        "qty": str(number),
        "filled_qty": "0",
        "plan_source": "bot",
        "details": "{}",
    }
    operator.redis.xadd(keys.APPLY_RESULT, dict(result.items()))


@pytest.fixture
def busy(operator: Operator) -> Operator:
    """A LIVE host with a position, a decision that was carried out, denials and an alert."""
    for service in SERVICES:
        operator.beat(service, mode="LIVE")
    operator.positions_read()
    hold(operator, "BTCUSDT", "0.5", "60000", "60300")
    intent = {
        "intent_id": "i-1",
        "symbol": "ETHUSDT",
        "action": "FULL_CLOSE",
        "side": "LONG",
        "quantity": "2",
        "reason": "STOP_LOSS: mark=2939 threshold=2940",
        "source": "exitbrain_v3_5",
    }
    operator.redis.xadd(keys.EXIT_INTENT, dict(intent.items()))
    result = {"plan_id": "exit-i-1", "symbol": "ETHUSDT", "executed": "true"}
    more = {"decision": "EXECUTED", "error": "", "side": "SELL", "filled_qty": "2"}
    operator.redis.xadd(keys.APPLY_RESULT, {**result, **more})
    for number in range(1, 31):
        denied(operator, number)
    alert = alert_fields(
        AlertType.EXIT_OWNER_VIOLATION, Severity.CRITICAL, {"source": "bot"}, time.time()
    )
    operator.redis.xadd(keys.ALERTS, dict(alert.items()))
    return operator


def test_one_screen_of_80x24_says_it_all(busy: Operator) -> None:
    with open_top(busy) as terminal:
        terminal.wait_text("ALERTS")
        lines = terminal.lines
        assert "MODE      LIVE" in lines[1]
        assert "SWITCH    off" in lines[2]
        assert all(f"{service}" in terminal.text for service in SERVICES)
        assert "NOT READY" not in terminal.text
        position = next(at for at, line in enumerate(lines) if "BTCUSDT      LONG" in line)
        assert "entry 60000  mark 60300" in lines[position]
        bar = lines[position + 1]
        assert "stop 58800 S" in bar
        assert bar.index("S") < bar.index("E") < bar.index("+") < bar.index("*")
        assert "no target" in bar
        assert "FULL_CLOSE LONG 2: EXECUTED; STOP_LOSS" in terminal.text
        assert "SELL 30 by bot: DENIED NOT_EXIT_OWNER:source=bot" in terminal.text
        assert "CRITICAL EXIT_OWNER_VIOLATION: source=bot" in terminal.text
        assert len(lines) == 24
        assert "q quit" in lines[23]


def test_it_keeps_up(busy: Operator) -> None:
    with open_top(busy) as terminal:
        terminal.wait_text("SWITCH    off")
        busy.switch(active=True)
        terminal.wait_text("KILL SWITCH ON")
        hold(busy, "SOLUSDT", "-8", "150", "151")
        state = {"ts_epoch": f"{time.time():.6f}", "symbols": '["BTCUSDT","SOLUSDT"]'}
        busy.redis.hset(keys.SNAPSHOT_STATE, mapping=state)
        terminal.wait_text("SOLUSDT      SHORT")
        bar = next(line for line in terminal.lines if "stop 153" in line)
        assert bar.index("E") < bar.index("-*") < bar.index("S")
        denied(busy, 99)
        terminal.wait_text("SELL 99 by bot")


def test_a_drill_of_a_proof_is_no_denial(busy: Operator) -> None:
    """By what the operator's user registered; the name of a plan is anybody's choice."""
    denied(busy, 77)
    denied(busy, 78)
    busy.redis.set(keys.drill("plan-77"), "1", ex=60)
    told = busy.run("top", "--once").out
    assert "SELL 77 by bot" not in told
    assert "SELL 78 by bot" in told
    assert "1 of proofs' drills" in told
    alert = {"alert_type": "EXIT_OWNER_VIOLATION", "severity": "CRITICAL", "drill": "plan-77"}
    busy.redis.xadd(keys.ALERTS, dict(alert.items()))
    assert "EXIT_OWNER_VIOLATION (drill)" in busy.run("top", "--once").out


def test_arrows_choose_and_scroll(busy: Operator) -> None:
    with open_top(busy) as terminal:
        terminal.wait_text("[POSITIONS]")
        terminal.press("right", "right")
        terminal.wait_text("[DENIALS]")
        terminal.wait_for(lambda text: "Plan plan-30" in text.replace("\n", " "), "plan-30")
        terminal.press(*["down"] * 20)
        terminal.wait_for(lambda text: "Plan plan-10" in text.replace("\n", " "), "plan-10")
        assert any(line.startswith(">") and "SELL 10 by bot" in line for line in terminal.lines)
        assert "SELL 30 by bot" not in terminal.text
        terminal.press("up")
        terminal.wait_for(lambda text: "Plan plan-11" in text.replace("\n", " "), "plan-11")
        terminal.press("left", "left", "left")
        terminal.wait_text("[ALERTS]")


@pytest.mark.parametrize("size", [(132, 50), (40, 10), (20, 3), (1, 1)])
def test_a_terminal_of_another_size(busy: Operator, size: tuple[int, int]) -> None:
    with open_top(busy) as terminal:
        terminal.wait_text("q quit")
        terminal.resize(*size)
        if size[1] > 24:
            terminal.wait_for(lambda text: "q quit" in text.splitlines()[-1], "keys at the end")
            assert terminal.text.count("SELL") > 10
        else:
            terminal.wait_for(lambda text: "exit"[: size[0]] in text or "q" in text, "something")
        terminal.resize(80, 24)
        terminal.wait_for(lambda text: "q quit" in text.splitlines()[-1], "the whole again")
        terminal.press("q")
        assert terminal.wait_end() == 0


def test_q_leaves_the_terminal_as_it_was(busy: Operator) -> None:
    with open_top(busy) as terminal:
        terminal.wait_text("q quit")
        assert terminal.settings != terminal.settings_before
        terminal.press("q")
        assert terminal.wait_end() == 0
        assert_restored(terminal)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_the_terminal_as_it_was(busy: Operator, number: signal.Signals) -> None:
    with open_top(busy) as terminal:
        terminal.wait_text("q quit")
        terminal.process.send_signal(number)
        assert terminal.wait_end() == (0 if number is signal.SIGINT else 128 + number)
        assert_restored(terminal)


def test_a_defect_leaves_the_terminal_as_it_was(busy: Operator) -> None:
    breaks = "import quantum_exit.exitctl.top.rows as r; r.alert_item = None; "
    run = "import sys; from quantum_exit.exitctl.main import main; sys.exit(main(['top']))"
    with Terminal([sys.executable, "-c", breaks + run], busy.environ) as terminal:
        assert terminal.wait_end() == 1
        assert_restored(terminal)
        assert b"TypeError" in terminal.raw.split(LEAVES_SCREEN)[-1]


def assert_restored(terminal: Terminal) -> None:
    assert terminal.settings == terminal.settings_before
    assert LEAVES_SCREEN in terminal.raw
    assert terminal.raw.rindex(SHOWS_CURSOR) > terminal.raw.index(b"\x1b[?25l")


def test_no_colour_where_none_is_wanted(busy: Operator) -> None:
    with open_top(busy) as terminal:
        terminal.wait_text("q quit")
        assert terminal.colours() != {"default"}
    with open_top(busy, NO_COLOR="1") as terminal:
        terminal.wait_text("q quit")
        assert terminal.colours() == {"default"}


def test_redis_gone_and_back(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    server = RedisServer(tmp_path / "redis", durable=True)
    server.start()
    try:
        operator.redis = server.client()
        operator.environ["REDIS_URL"] = server.url
        operator.switch(active=False)
        for service in SERVICES:
            operator.beat(service, mode="LIVE")
        hold(operator, "BTCUSDT", "0.5", "60000", "60300")
        operator.positions_read()
        with open_top(operator) as terminal:
            terminal.wait_text("BTCUSDT      LONG")
            server.kill()
            terminal.wait_text("DOES NOT ANSWER")
            terminal.wait_text("STALE     all below is as of")
            # each waited for: a frame may be read while it is being drawn
            for told in ("KILL SWITCH ON", "(then)", "BTCUSDT      LONG"):
                terminal.wait_text(told)
            server.start()
            operator.switch(active=False)
            terminal.wait_text("SWITCH    off")
            terminal.wait_for(lambda text: "DOES NOT ANSWER" not in text, "it answers again")
            terminal.press("q")
            assert terminal.wait_end() == 0
    finally:
        server.kill()


def test_a_redis_that_hangs_delays_no_key(busy: Operator, shared_redis: RedisServer) -> None:
    pid = int(busy.redis.info("server")["process_id"])
    with open_top(busy) as terminal:
        terminal.wait_text("q quit")
        os.kill(pid, signal.SIGSTOP)
        try:
            terminal.wait_for(lambda text: "read 3." in text, "the age goes on")
            terminal.press("right")
            terminal.wait_text("[DECISIONS]", timeout_s=4)
            terminal.press("q")
            assert terminal.wait_end(4) == 0
        finally:
            os.kill(pid, signal.SIGCONT)


def test_what_others_write_cannot_touch_the_screen(busy: Operator) -> None:
    denied(busy, 77, error=f"no{ESCAPE}thing\nMODE      KILLED\u202e")
    with open_top(busy) as terminal:
        terminal.wait_text("SELL 77 by bot")
        assert "MODE      LIVE" in terminal.lines[1]
        assert b"\x1b[2J\x1b[31m" not in terminal.raw
        assert not any(line.startswith("MODE      KILLED") for line in terminal.lines)
        assert "\u202e" not in terminal.text


def test_without_a_terminal_it_is_one_frame(busy: Operator) -> None:
    for arguments in (("top",), ("top", "--once")):
        done = busy.run(*arguments)
        assert done.code == 0, done
        assert "MODE      LIVE" in done.out
        assert "\x1b" not in done.out
        assert max(map(len, done.out.splitlines())) <= 80
    document = busy.run("top", "--json").json
    assert len(document["lately"]["denials"]) == 30
    assert document["status"]["mode"]["state"] == "LIVE"
    gone = busy.run("top", "--once", REDIS_URL="redis://127.0.0.1:1/0")
    assert gone.code == 3
    assert "DOES NOT ANSWER" in gone.out


def test_a_terminal_that_can_do_nothing_gets_one_frame(busy: Operator) -> None:
    with open_top(busy, TERM="unheard-of") as terminal:
        assert terminal.wait_end() == 0
        assert "MODE      LIVE" in terminal.raw.decode()
        assert terminal.settings == terminal.settings_before


def test_an_empty_redis_says_what_is_missing(operator: Operator) -> None:
    done = operator.run("top", "--once")
    assert done.code == 0, done
    assert "MODE      UNKNOWN" in done.out
    assert "never read" in done.out
    assert "no heartbeat" in done.out


def test_looking_asks_the_exchange_nothing(stack: Stack) -> None:
    """And the stack's own position is on it, with the brain's stop."""
    order = ("--symbol", "BTCUSDT", "--side", "BUY", "--qty", "0.01", "--source", "intent_bridge")
    assert stack.exitctl("plan", "send", *order).code == 0
    unreachable = {**stack.operator, "BINANCE_BASE_URL": "http://127.0.0.1:1"}
    command = [sys.executable, "-m", "quantum_exit.exitctl", "top"]
    with Terminal(command, unreachable) as terminal:
        terminal.wait_text("stop 58800 S")
        terminal.wait_text("BUY 0.01 at 60000: EXECUTED")
    assert json.loads(stack.exitctl("top", "--json").out)["error"] == ""


def test_a_look_does_not_walk_over_all_keys(busy: Operator) -> None:
    """There may be a hundred thousand done marks, and Redis does nothing else meanwhile."""
    reader = Reader(Context(busy.environ, json_output=False))
    assert reader.look().error == ""

    def walks() -> int:
        stats = busy.redis.info("commandstats")
        return int(stats.get("cmdstat_scan", {"calls": 0})["calls"])

    before = walks()
    assert before > 0
    for _ in range(3):
        reader.look()
    assert walks() == before


def test_a_redis_that_answers_is_not_said_to_be_gone(busy: Operator) -> None:
    busy.redis.set(keys.EXECUTOR_OPEN, "of another type")
    done = busy.run("top", "--once")
    assert "nothing trades" not in done.out, done
    assert "WRONGTYPE" in done.out
