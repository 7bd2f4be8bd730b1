"""Starting, stopping, and what survives."""

from __future__ import annotations

import http.client
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from paper_exchange.testing import PaperExchange
from paper_exchange.testing.transport import request

ORDER = {"symbol": "AVAXUSDT", "side": "BUY", "type": "MARKET", "quantity": "5"}
REST = {**ORDER, "type": "LIMIT", "price": "29.000", "timeInForce": "GTC"}
STOP = {
    "algoType": "CONDITIONAL",
    "symbol": "AVAXUSDT",
    "side": "SELL",
    "type": "STOP_MARKET",
    "closePosition": "true",
    "triggerPrice": "28.000",
}


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "paper_exchange", *arguments],
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_what_was_answered_survives(tmp_path: Path, how: str) -> None:
    file = tmp_path / "state.json"
    with PaperExchange(state_file=file) as exchange:
        port = exchange.base_url
        exchange.set_price("AVAXUSDT", 31)
        exchange.signed("POST", "/fapi/v1/leverage", symbol="AVAXUSDT", leverage=7)
        exchange.signed("POST", "/fapi/v1/order", newClientOrderId="filled", **ORDER)
        exchange.signed("POST", "/fapi/v1/order", newClientOrderId="rests", **REST)
        exchange.signed("POST", "/fapi/v1/algoOrder", clientAlgoId="stop", **STOP)
        exchange.add_key("later-key", "later-secret")
        before, fills = exchange.state(), exchange.fills()
        getattr(exchange, how)()
        with pytest.raises(OSError, match="refused"):
            exchange.public("/fapi/v1/time")
        exchange.start()
        assert exchange.base_url == port
        after = exchange.state()
        assert {**after, "now_ms": 0} == {**before, "now_ms": 0}
        assert exchange.fills() == fills
        assert exchange.price("AVAXUSDT") == 31
        repeated = exchange.signed("POST", "/fapi/v1/order", newClientOrderId="rests", **REST)
        assert repeated.status == 400
        [config] = exchange.signed("GET", "/fapi/v1/symbolConfig", symbol="AVAXUSDT").body  # type: ignore[misc]
        assert config["leverage"] == 7
        assert exchange.call("GET", "keys")["keys"][-1]["api_key"] == "later-key"
        exchange.set_price("AVAXUSDT", 27)
        assert exchange.position("AVAXUSDT") == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_an_answered_order_survives_a_kill_at_once(tmp_path: Path) -> None:
    """Over and over: the state must be on disk before the answer, not soon after it."""
    with PaperExchange(state_file=tmp_path / "state.json") as exchange:
        for held in (5, 10, 15, 20):
            assert exchange.signed("POST", "/fapi/v1/order", **ORDER).status == 200
            exchange.kill()
            exchange.start()
            assert exchange.position("AVAXUSDT") == held
        exchange.set_price("AVAXUSDT", 33)
        exchange.kill()
        exchange.start()
        assert exchange.price("AVAXUSDT") == 33


def test_a_countdown_goes_on_after_a_restart(tmp_path: Path) -> None:
    with PaperExchange(state_file=tmp_path / "state.json") as exchange:
        exchange.signed("POST", "/fapi/v1/order", **REST)
        exchange.signed(
            "POST", "/fapi/v1/countdownCancelAll", symbol="AVAXUSDT", countdownTime=60_000
        )
        exchange.kill()
        exchange.start()
        assert len(exchange.state()["open_orders"]) == 1
        exchange.set_clock_offset(61_000)
        exchange.public("/fapi/v1/time")
        assert exchange.state()["open_orders"] == []


def test_what_a_moving_price_did_is_saved_too(tmp_path: Path) -> None:
    with PaperExchange(state_file=tmp_path / "state.json") as exchange:
        exchange.set_position("AVAXUSDT", 5)
        exchange.signed("POST", "/fapi/v1/algoOrder", **STOP)
        exchange.start_fall("AVAXUSDT", depth_pct=20, minutes=2, speed=2_400)
        deadline_s = time.monotonic() + 20
        while exchange.position("AVAXUSDT") != 0 and time.monotonic() < deadline_s:
            time.sleep(0.02)
        time.sleep(0.5)  # longer than the pause between two looks at what has changed
        exchange.kill()
        exchange.start()
        assert exchange.position("AVAXUSDT") == 0


@pytest.mark.parametrize("content", ["{", "[]", '{"version": 2}', '{"version": 1}'])
def test_a_damaged_state_file_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "state.json"
    file.write_text(content, encoding="utf-8")
    ended = run(
        "--state-file", str(file), PAPER_EXCHANGE_API_KEY="k", PAPER_EXCHANGE_SECRET_KEY="s"
    )
    assert ended.returncode == 78
    assert str(file) in ended.stderr
    assert file.read_text(encoding="utf-8") == content


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "no API key"),
        (("--api-key", "k"), "belong together"),
        (("--api-key", "k", "--secret-key", "s", "--port", "many"), "'many' is not a whole number"),
        (("--api-key", "k", "--secret-key", "s", "--slippage", "x"), "'x' is not a number"),
        (("--api-key", "k", "--secret-key", "s", "--prices", "/no/such"), "/no/such"),
        (("--colour", "red"), "--colour"),
    ],
)
def test_wrong_options(arguments: tuple[str, ...], complaint: str) -> None:
    ended = run(*arguments)
    assert ended.returncode == 78
    assert complaint in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_state_file_that_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "no" / "such" / "state.json"
    ended = run(
        "--state-file", str(file), PAPER_EXCHANGE_API_KEY="k", PAPER_EXCHANGE_SECRET_KEY="s"
    )
    assert ended.returncode == 78
    assert f"{file}: No such file or directory" in ended.stderr


def test_a_delayed_request_does_not_hold_up_the_end() -> None:
    with PaperExchange() as exchange:
        exchange.add_fault(path="/fapi/v1/time", delay_before_ms=60_000)
        lost: list[bool] = []

        def ask() -> None:
            try:
                exchange.public("/fapi/v1/time")
            except (OSError, http.client.HTTPException):
                lost.append(True)

        asking = threading.Thread(target=ask)
        asking.start()
        while exchange.faults()[0]["hits"] == 0:
            time.sleep(0.01)
        start_s = time.monotonic()
        exchange.stop()
        asking.join()
        assert time.monotonic() - start_s < 5
        assert lost == [True]


def test_a_taken_port(exchange: PaperExchange) -> None:
    port = exchange.base_url.rpartition(":")[2]
    ended = run("--port", port, PAPER_EXCHANGE_API_KEY="k", PAPER_EXCHANGE_SECRET_KEY="s")
    assert ended.returncode == 1
    assert "in use" in ended.stderr


def test_help_names_every_option_and_no_secret() -> None:
    ended = run("--help", PAPER_EXCHANGE_SECRET_KEY="hush-hush", PAPER_EXCHANGE_PORT="1234")
    assert ended.returncode == 0
    assert "--order-limit-10s" in ended.stdout
    assert "hush-hush" not in ended.stdout


def test_generated_symbols_for_load() -> None:
    with PaperExchange(symbols=500) as exchange:
        info = exchange.public("/fapi/v1/exchangeInfo").body
        assert isinstance(info, dict)
        assert len(info["symbols"]) == 504
        for symbol in ("Q001USDT", "Q250USDT", "Q500USDT"):
            exchange.set_position(symbol, 5)
        positions = exchange.signed("GET", "/fapi/v3/positionRisk").body
        assert isinstance(positions, list)
        assert len(positions) == 3


def test_every_generated_symbol_can_be_traded() -> None:
    with PaperExchange(symbols=60, balance=10_000_000) as exchange:
        info = exchange.public("/fapi/v1/exchangeInfo").body
        assert isinstance(info, dict)
        for entry in info["symbols"]:
            quantity = int(500 / exchange.price(entry["symbol"])) + 1
            order = {"symbol": entry["symbol"], "side": "BUY", "type": "MARKET"}
            answer = exchange.signed("POST", "/fapi/v1/order", quantity=quantity, **order)
            assert answer.status == 200, (entry["symbol"], answer.body)


@pytest.mark.data
def test_recorded_symbols_and_brackets(data_dir: Path) -> None:
    info = data_dir / "exchangeInfo_um_testnet_2025-03-06_full.json.gz"
    brackets = data_dir / "leverage_brackets_subset.json"
    with PaperExchange(exchange_info=info, brackets=brackets) as exchange:
        listed = exchange.public("/fapi/v1/exchangeInfo").body
        assert isinstance(listed, dict)
        assert len(listed["symbols"]) > 400
        answer = exchange.signed("GET", "/fapi/v1/leverageBracket", symbol="AVAXUSDT").body
        assert isinstance(answer, list)
        assert answer[0]["brackets"][0]["initialLeverage"] == 75
        order = {"symbol": "AVAXUSDT", "side": "BUY", "type": "MARKET", "quantity": "5"}
        assert exchange.signed("POST", "/fapi/v1/order", **order).status == 200


def test_a_frozen_exchange_answers_after_it_thaws(exchange: PaperExchange) -> None:
    os.kill(exchange.pid, signal.SIGSTOP)
    try:
        with pytest.raises(TimeoutError):
            request(exchange.base_url, "GET", "/fapi/v1/time", timeout_s=0.3)
    finally:
        os.kill(exchange.pid, signal.SIGCONT)
    assert exchange.public("/fapi/v1/time").status == 200


def test_it_ends_with_its_parent() -> None:
    script = (
        "import sys\n"
        "from paper_exchange.testing import PaperExchange\n"
        "exchange = PaperExchange()\n"
        "exchange.start()\n"
        "print(exchange.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    deadline_s = time.monotonic() + 20
    while _lives(child):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def _lives(pid: int) -> bool:
    """A zombie that its new parent has not yet buried counts as ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
