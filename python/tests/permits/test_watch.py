"""The watch on the account, against an exchange that fails in every way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from quantum_exit.binance.clock import ClockSample, ExchangeClock
from quantum_exit.binance.errors import (
    ExchangeError,
    ExchangeRateLimited,
    ExchangeUnreachable,
    ReadFailed,
)
from quantum_exit.binance.model import (
    AlgoAck,
    AlgoNotFound,
    Position,
    PositionRows,
    SymbolConfig,
    Trade,
)
from quantum_exit.binance.rate import RateState
from quantum_exit.permits.bookkeeper import FiredStop
from quantum_exit.permits.watch import (
    REFRESH_EVERY_S,
    RETRY_AFTER_S,
    SCARCE_EVERY_S,
    Allowance,
    Watch,
)
from quantum_exit.sanity.snapshot import STALE_AFTER_S

D = Decimal
LONG = Position("BTCUSDT", D(2), D(1), D(1), D(0), None, None, 0)
FLAT = replace(LONG, symbol="ETHUSDT", amount=D(0))


class Scripted:
    """An exchange that answers as told. Its clock is `ahead_ms` ahead of the wall clock."""

    def __init__(self) -> None:
        self.clock = ExchangeClock()
        self.rate = RateState(lambda: 10.0)
        self.rows = [LONG, FLAT]
        self.unreadable: frozenset[str] = frozenset()
        self.hedge = False
        self.ahead_ms = 0
        self.failure: ReadFailed | None = None
        self.configs_failure: ReadFailed | None = None
        self.algo: AlgoAck | AlgoNotFound = AlgoNotFound("x")
        self.calls: list[str] = []

    def _call(self, name: str, *_given: object) -> None:
        self.calls.append(name)
        if self.failure:
            raise self.failure

    def position_rows(self) -> PositionRows:
        self._call("positions")
        return PositionRows(tuple(self.rows), self.unreadable)

    def symbol_configs(self) -> dict[str, SymbolConfig]:
        self._call("symbol_configs")
        if self.configs_failure:
            raise self.configs_failure
        return {"BTCUSDT": SymbolConfig("BTCUSDT", 7, "CROSSED", D(1))}

    def dual_side(self) -> bool:
        self._call("dual_side")
        return self.hedge

    def sync_clock(self, samples: int = 2) -> None:
        self._call("sync_clock", samples)
        self.clock.add(ClockSample(1_000_000 + self.ahead_ms, 10.0, 10.0))

    def query_algo(self, client_algo_id: str) -> AlgoAck | AlgoNotFound:
        self._call("query_algo", client_algo_id)
        return self.algo

    def user_trades(self, symbol: str, *, order_id: int | None = None) -> list[Trade]:
        self._call("user_trades")
        half = Trade(
            symbol, 1, order_id or 0, "SELL", D(1), D(1), D(1), D(0), "USDT", D(0), False, 0
        )
        return [half, half]


@pytest.fixture
def exchange() -> Scripted:
    return Scripted()


@pytest.fixture
def watch(exchange: Scripted) -> Watch:
    return Watch(exchange, wall=lambda: 1000.0, monotonic=lambda: 10.0)


def test_one_call_reads_every_position_and_the_settings_are_read_seldom(
    watch: Watch, exchange: Scripted
) -> None:
    watch.read_once()
    first = watch.account
    assert first.unfit == ""
    assert first.latest is not None
    assert first.latest.positions == {"BTCUSDT": LONG}
    assert first.latest.leverage == {"BTCUSDT": 7}
    exchange.calls.clear()
    watch.read_once()
    assert exchange.calls == ["positions"]


def test_before_the_first_reading_nothing_is_fit(watch: Watch) -> None:
    assert watch.account.unfit


@pytest.mark.parametrize("how", ["asked", "by_a_row"])
def test_hedge_mode_is_unfit(watch: Watch, exchange: Scripted, how: str) -> None:
    if how == "asked":
        exchange.hedge = True
    else:
        exchange.rows = [replace(LONG, position_side="LONG")]
    watch.read_once()
    assert watch.account.unfit.startswith("hedge_mode")


@pytest.mark.parametrize(("ahead_ms", "fit"), [(900, True), (1200, False), (-1200, False)])
def test_a_clock_that_is_off_is_unfit(
    watch: Watch, exchange: Scripted, ahead_ms: int, fit: bool
) -> None:
    exchange.ahead_ms = ahead_ms
    watch.read_once()
    assert (watch.account.unfit == "") is fit
    assert fit or f"{ahead_ms:+d}"[:2] in watch.account.unfit


@pytest.mark.parametrize(
    ("failure", "pause_s", "rejected"),
    [
        (ExchangeUnreachable("refused"), RETRY_AFTER_S, False),
        (ExchangeError(500, -1000, "down"), RETRY_AFTER_S, False),
        (ExchangeError(401, -2015, "Invalid API-key"), 1.0, True),
        (ExchangeRateLimited(33.0), 33.0, False),
    ],
)
def test_a_failed_reading_keeps_the_last_and_says_why(
    watch: Watch, exchange: Scripted, failure: ReadFailed, pause_s: float, rejected: bool
) -> None:
    watch.read_once()
    before = watch.account.latest
    exchange.failure = failure
    assert watch.read_once() == pause_s
    assert watch.account.latest is before
    assert watch.account.trouble
    assert watch.account.credentials_rejected is rejected
    exchange.failure = None
    watch.read_once()
    assert watch.account.trouble == ""
    assert watch.account.latest is not before


def test_an_unknown_position_mode_is_unfit(watch: Watch, exchange: Scripted) -> None:
    exchange.failure = ExchangeUnreachable("refused")
    watch.read_once()
    assert watch.account.unfit == "position_mode_unknown"


def test_leverage_that_cannot_be_read_hides_no_position(watch: Watch, exchange: Scripted) -> None:
    exchange.configs_failure = ExchangeError(500, -1000, "down")
    watch.read_once()
    assert watch.account.latest is not None
    assert watch.account.latest.positions == {"BTCUSDT": LONG}


def fired(order_id: int | None, symbol: str = "BTCUSDT") -> AlgoAck:
    return AlgoAck(1, "qs-1", "FINISHED", symbol, "SELL", D(2), D(1), True, order_id)


@pytest.mark.parametrize(
    ("algo", "expected"),
    [
        (fired(5), (FiredStop("qs-1", D(-2)),)),
        (fired(None), ()),
        (fired(5, symbol="ETHUSDT"), ()),
        (AlgoNotFound("qs-1"), ()),
    ],
)
def test_stops_are_asked_for_once_and_told_once(
    watch: Watch,
    exchange: Scripted,
    algo: AlgoAck | AlgoNotFound,
    expected: tuple[FiredStop, ...],
) -> None:
    exchange.algo = algo
    watch.ask_for_stops("BTCUSDT", ("qs-1",))
    watch.read_once()
    assert watch.take_fired() == {"BTCUSDT": expected}
    assert watch.take_fired() == {}
    exchange.calls.clear()
    watch.read_once()
    assert "query_algo" not in exchange.calls


def test_who_waits_is_woken_by_the_next_reading(watch: Watch) -> None:
    read: Callable[[], object] = watch.read_once
    read()
    seen = watch.account.latest
    assert watch.wait_for_newer(seen, 0.01).latest is seen
    read()
    assert watch.wait_for_newer(seen, 0.01).latest is not seen


def test_readings_on_request_are_rationed() -> None:
    allowance = Allowance(3, 2.0, now_mono=100.0)
    assert [allowance.take(100.0) for _ in range(5)] == [True, True, True, False, False]
    assert not allowance.take(101.9)
    assert allowance.take(102.1)
    assert not allowance.take(102.2)
    assert [allowance.take(1000.0) for _ in range(4)] == [True, True, True, False]


def test_near_the_limit_of_weight_only_the_owner_gets_a_reading_before_its_time(
    watch: Watch, exchange: Scripted
) -> None:
    exchange.rate.note_headers({"X-MBX-USED-WEIGHT-1M": "1600"})
    watch.request(by_owner=False)
    assert watch.may_hurry()
    exchange.rate.note_headers({"X-MBX-USED-WEIGHT-1M": "1700"})
    watch.request(by_owner=False)
    assert not watch.may_hurry()
    watch.request(by_owner=True)
    assert watch.may_hurry()


def test_with_the_weight_almost_used_up_the_account_is_read_less_often_but_for_the_owner(
    watch: Watch, exchange: Scripted
) -> None:
    exchange.rate.note_headers({"X-MBX-USED-WEIGHT-1M": "2100"})
    assert watch.read_once() == SCARCE_EVERY_S
    assert SCARCE_EVERY_S < STALE_AFTER_S / 2
    watch.request(by_owner=True)
    assert watch.read_once() == REFRESH_EVERY_S


def test_the_same_stops_are_not_asked_about_all_the_time(exchange: Scripted) -> None:
    now = [10.0]
    watch = Watch(exchange, wall=lambda: 1_000.0, monotonic=lambda: now[0])
    for _ in range(20):
        watch.ask_for_stops("BTCUSDT", ("qs-1",))
        watch.read_once()
        now[0] += 0.2
    assert exchange.calls.count("query_algo") == 1
    now[0] += 5
    watch.ask_for_stops("BTCUSDT", ("qs-1",))
    watch.read_once()
    assert exchange.calls.count("query_algo") == 2
