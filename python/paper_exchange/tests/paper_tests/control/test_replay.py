"""Prices that play by themselves."""

from __future__ import annotations

import gzip
import time
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from paper_exchange.testing import ControlRefused, PaperExchange

ROWS = [
    "1738540800000,30,31,28,29,1,1738540859999,1,1,1,1,0",
    "1738540860000,29,29.5,27,27.5,1,1738540919999,1,1,1,1,0",
]


def wait_for(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "two.csv"
    path.write_text("\n".join(ROWS), encoding="utf-8")
    return path


def test_step_by_step(exchange: PaperExchange, file: Path) -> None:
    started = exchange.start_replay("AVAXUSDT", file, speed=0)
    assert (started["state"], started["minutes"]) == ("waiting", 2)
    seen = [exchange.price("AVAXUSDT")]
    for _ in range(7):
        exchange.step_replay("AVAXUSDT")
        seen.append(exchange.price("AVAXUSDT"))
    assert seen == [30, 31, 28, 29, 29, Decimal("29.5"), 27, Decimal("27.5")]
    assert exchange.step_replay("AVAXUSDT")["played"] == 0
    assert exchange.replays()["AVAXUSDT"]["state"] == "finished"


def test_candles_follow_the_minutes_of_the_file(exchange: PaperExchange, file: Path) -> None:
    exchange.start_replay("AVAXUSDT", file, speed=0)
    exchange.step_replay("AVAXUSDT", 100)
    rows = exchange.public("/fapi/v1/klines?symbol=AVAXUSDT&interval=1m&limit=2").body
    assert isinstance(rows, list)
    lows = [Decimal(row[3]) for row in rows]
    assert lows == [28, 27]
    assert rows[1][0] - rows[0][0] == 60_000


def test_by_itself_at_a_speed(exchange: PaperExchange, file: Path) -> None:
    exchange.start_replay("AVAXUSDT", file, speed=600)
    wait_for(lambda: exchange.replays()["AVAXUSDT"]["state"] == "finished")
    assert exchange.price("AVAXUSDT") == Decimal("27.5")


def test_stopped_and_started_anew(exchange: PaperExchange, file: Path) -> None:
    exchange.start_replay("AVAXUSDT", file, speed=1)
    exchange.stop_replay("AVAXUSDT")
    assert exchange.replays()["AVAXUSDT"]["state"] == "stopped"
    exchange.set_price("AVAXUSDT", 33)
    exchange.start_replay("AVAXUSDT", file, speed=0, skip_minutes=1)
    assert exchange.price("AVAXUSDT") == 29


def test_scaled_to_the_present_price(exchange: PaperExchange, file: Path) -> None:
    exchange.start_replay("BTCUSDT", file, speed=0, scale=True)
    assert exchange.price("BTCUSDT") == 60_000
    exchange.step_replay("BTCUSDT")
    assert exchange.price("BTCUSDT") == 62_000


@pytest.mark.parametrize("packed", ["gzip", "zip"])
def test_packed_files(exchange: PaperExchange, file: Path, tmp_path: Path, packed: str) -> None:
    if packed == "gzip":
        path = tmp_path / "two.csv.gz"
        path.write_bytes(gzip.compress(file.read_bytes()))
    else:
        path = tmp_path / "two.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(file, "two.csv")
    assert exchange.start_replay("AVAXUSDT", path, speed=0)["minutes"] == 2


def test_a_broken_row_starts_nothing(exchange: PaperExchange, tmp_path: Path) -> None:
    path = tmp_path / "broken.csv"
    path.write_text("\n".join([*ROWS, "1738540920000,29,x"]), encoding="utf-8")
    with pytest.raises(ControlRefused, match=r"broken.csv, line 3: 3 columns instead of 12"):
        exchange.start_replay("AVAXUSDT", path)
    assert exchange.replays() == {}
    assert exchange.price("AVAXUSDT") == 30


def test_a_file_by_its_path(exchange: PaperExchange, file: Path) -> None:
    body = {"symbol": "AVAXUSDT", "path": str(file), "speed": 0}
    assert exchange.call("POST", "replay", body)["minutes"] == 2
    with pytest.raises(ControlRefused, match="No such file"):
        exchange.call("POST", "replay", {**body, "path": str(file.with_name("none.csv"))})


def test_a_damaged_archive(exchange: PaperExchange, tmp_path: Path) -> None:
    path = tmp_path / "cut.csv.gz"
    path.write_bytes(gzip.compress(b"x" * 1_000)[:20])
    with pytest.raises(ControlRefused, match="cannot be unpacked"):
        exchange.start_replay("AVAXUSDT", path)


def test_a_made_up_fall_triggers_a_stop(exchange: PaperExchange) -> None:
    exchange.set_position("AVAXUSDT", 10)
    exchange.signed(
        "POST",
        "/fapi/v1/algoOrder",
        algoType="CONDITIONAL",
        symbol="AVAXUSDT",
        side="SELL",
        type="STOP_MARKET",
        closePosition="true",
        triggerPrice="28.500",
    )
    exchange.start_fall("AVAXUSDT", depth_pct=10, minutes=5, speed=0)
    exchange.step_replay("AVAXUSDT", 1_000)
    assert exchange.price("AVAXUSDT") == 27
    assert exchange.position("AVAXUSDT") == 0
    assert exchange.fills()[-1].price <= Decimal("28.5")


@pytest.mark.data
def test_the_real_crash_closes_a_long_by_its_stop(exchange: PaperExchange, data_dir: Path) -> None:
    """AVAXUSDT on 2025-02-03: down by a fifth within the hour."""
    slice_ = data_dir / "klines_um_1m" / "AVAXUSDT-1m-2025-02-03T00_06.slice.csv"
    started = exchange.start_replay("AVAXUSDT", slice_, speed=0)
    assert started["minutes"] == 360
    entry = exchange.price("AVAXUSDT")
    exchange.set_position("AVAXUSDT", 100)
    trigger = (entry * Decimal("0.95")).quantize(Decimal("0.001"))
    exchange.signed(
        "POST",
        "/fapi/v1/algoOrder",
        algoType="CONDITIONAL",
        symbol="AVAXUSDT",
        side="SELL",
        type="STOP_MARKET",
        quantity="100",
        reduceOnly="true",
        triggerPrice=trigger,
    )
    exchange.step_replay("AVAXUSDT", 4 * 360)
    assert exchange.position("AVAXUSDT") == 0
    exit_fill = exchange.fills()[-1]
    assert exit_fill.actor == "algo"
    assert trigger * Decimal("0.98") < exit_fill.price <= trigger


@pytest.mark.data
def test_a_whole_month_can_be_uploaded(exchange: PaperExchange, data_dir: Path) -> None:
    month = data_dir / "klines_um_1m" / "AVAXUSDT-1m-2025-02.csv.gz"
    assert exchange.start_replay("AVAXUSDT", month, speed=0)["minutes"] == 40_320
