"""Answers become values, or `Malformed`; nothing else ever comes out."""

from __future__ import annotations

import contextlib
import gzip
import json
import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum_exit.binance import parse
from quantum_exit.binance.fields import Malformed, decode_json, parse_amount

PARSERS: dict[str, Callable[[Any], Any]] = {
    "GET_order.json": parse.order_ack,
    "POST_order.json": parse.order_ack,
    "DELETE_order.json": parse.order_ack,
    "GET_openOrders.json": parse.order_list,
    "GET_algoOrder.json": parse.algo_ack,
    "POST_algoOrder.json": parse.algo_ack,
    "GET_openAlgoOrders.json": parse.algo_list,
    "DELETE_algoOrder.json": parse.algo_cancel_ack,
    "GET_v3_positionRisk.json": parse.positions,
    "GET_v3_positionRisk__1.json": parse.positions,
    "GET_v2_positionRisk.json": parse.positions,
    "GET_symbolConfig.json": parse.symbol_configs,
    "GET_premiumIndex__1.json": parse.mark_prices,
    "GET_v3_balance.json": parse.balances,
    "GET_v2_account__1.json": parse.account,
    "GET_userTrades.json": parse.trades,
    "GET_klines.json": parse.klines,
    "GET_apiTradingStatus.json": parse.trading_indicators,
    "GET_apiTradingStatus__1.json": parse.trading_indicators,
    "POST_leverage.json": parse.leverage_setting,
    "GET_leverageBracket.json": parse.max_leverages,
    "GET_leverageBracket__1.json": parse.max_leverages,
}


@pytest.mark.data
@pytest.mark.parametrize("name", sorted(PARSERS))
def test_documented_examples(data_dir: Path, name: str) -> None:
    assert PARSERS[name](decode_json((data_dir / "doc_examples" / name).read_bytes()))


@pytest.mark.data
@pytest.mark.parametrize("name", sorted(PARSERS))
@pytest.mark.parametrize("junk", [None, "", "NaN", [], {}, -(2**70), "1" * 50, True])
def test_examples_with_any_field_spoilt(data_dir: Path, name: str, junk: Any) -> None:
    """Each field of each example in turn: a value or `Malformed`, never another error."""
    example = decode_json((data_dir / "doc_examples" / name).read_bytes())
    row = example[0] if isinstance(example, list) else example
    for key in list(row) if isinstance(row, dict) else range(len(row)):
        kept = row[key]
        row[key] = junk
        with contextlib.suppress(Malformed):
            PARSERS[name](example)
        row[key] = kept


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@settings(deadline=None)  # a shared machine may be busy
@given(json_values)
@pytest.mark.parametrize("parser", list(dict.fromkeys(PARSERS.values())))
def test_arbitrary_values(parser: Callable[[Any], Any], value: Any) -> None:
    with contextlib.suppress(Malformed):
        parser(value)


ROW = {
    "symbol": "BTCUSDT",
    "positionSide": "BOTH",
    "positionAmt": "-0.010",
    "entryPrice": "60000",
    "markPrice": "61000.5",
    "unRealizedProfit": "-10.005",
    "liquidationPrice": "0",
    "updateTime": 1,
}


def test_positions_tell_side_by_sign_and_hedge_mode_by_name() -> None:
    row = ROW
    position = parse.positions([row])[0]
    assert position.amount == Decimal("-0.010")
    assert position.leverage is None
    assert position.liquidation_price is None
    assert position.position_side == "BOTH"
    assert parse.positions([{**row, "leverage": "20", "positionSide": "SHORT"}])[0].leverage == 20


def test_one_position_that_cannot_be_read_spoils_all() -> None:
    """A list that silently lacks a position is a position that nobody watches."""
    with pytest.raises(Malformed, match="positionAmt"):
        parse.positions([{"symbol": "A", "positionAmt": "NaN"}])


@pytest.mark.parametrize("bad", [{"positionAmt": "NaN"}, {"markPrice": None}, {"positionSide": 1}])
def test_a_row_that_cannot_be_read_makes_its_own_symbol_unknown(bad: dict[str, object]) -> None:
    rows = parse.position_rows([{**ROW, **bad}, {**ROW, "symbol": "ETHUSDT"}])
    assert [position.symbol for position in rows.positions] == ["ETHUSDT"]
    assert rows.unreadable == {"BTCUSDT"}
    # What a second row says of a symbol does not make the first one known.
    twice = parse.position_rows([ROW, {**ROW, **bad}])
    assert (twice.positions, twice.unreadable) == ((), {"BTCUSDT"})


@pytest.mark.parametrize("row", [{**ROW, "symbol": 3}, {"positionAmt": "1"}, {"symbol": "?"}, "x"])
def test_a_row_that_does_not_say_which_symbol_it_is_of_spoils_all(row: object) -> None:
    with pytest.raises(Malformed):
        parse.position_rows([{**ROW, "symbol": "ETHUSDT"}, row])


def test_one_mark_price_that_cannot_be_read_spoils_only_its_symbol() -> None:
    good = {"symbol": "A", "markPrice": "1.5", "time": 1}
    for bad in ("", "0", "-1", "NaN", None, 3):
        prices = parse.mark_prices([{"symbol": "B", "markPrice": bad, "time": 1}, good])
        assert list(prices) == ["A"]


def test_zero_with_an_exponent_is_a_number() -> None:
    assert parse_amount("0E-8", "x") == 0


@pytest.mark.parametrize("bad", ["", " 1", "1 ", "1_0", "٣", "nan", "inf", "1e1000", "0x1", 1, 1.0])
def test_what_is_no_amount(bad: Any) -> None:
    with pytest.raises(Malformed):
        parse_amount(bad, "x")


def recorded_info(data_dir: Path) -> bytes:
    packed = data_dir / "exchangeInfo_um_testnet_2025-03-06_full.json.gz"
    return gzip.decompress(packed.read_bytes())


@pytest.mark.data
def test_recorded_exchange_info(data_dir: Path) -> None:
    body = recorded_info(data_dir)
    rules = parse.exchange_rules(body)
    assert len(rules) == len(json.loads(body)["symbols"])
    btc = rules["BTCUSDT"]
    assert (btc.price_tick, btc.qty_step) == (Decimal("0.10"), Decimal("0.001"))
    assert btc.min_notional == 100
    assert (btc.price_up, btc.price_down) == (Decimal("1.5"), Decimal("0.5"))
    assert btc.trading
    assert btc.qty_precision == 3


@pytest.mark.data
def test_exchange_info_is_not_kept_whole(data_dir: Path) -> None:
    body = recorded_info(data_dir)
    tracemalloc.start()
    rules = parse.exchange_rules(body)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rules
    assert kept < len(body)
    assert peak < 3 * len(body)


def test_a_symbol_without_complete_filters_is_left_out() -> None:
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": "0.1"},
        {"filterType": "LOT_SIZE", "stepSize": "0.01", "minQty": "0.01", "maxQty": "100"},
        {"filterType": "MARKET_LOT_SIZE", "stepSize": "0", "minQty": "0.02", "maxQty": "50"},
        {"filterType": "MIN_NOTIONAL", "notional": "5"},
        {"filterType": "PERCENT_PRICE", "multiplierUp": "1.1", "multiplierDown": "0.9"},
    ]
    whole = {"symbol": "A", "status": "TRADING", "quantityPrecision": 2, "filters": filters}
    symbols: list[Any] = [whole]
    for missing in range(len(filters)):
        rest = filters[:missing] + filters[missing + 1 :]
        symbols.append({**whole, "symbol": f"B{missing}", "filters": rest})
    symbols += [{**whole, "symbol": "C", "filters": None}, {"symbol": "D"}, None, 3, "x"]
    rules = parse.exchange_rules(json.dumps({"symbols": symbols}).encode())
    assert list(rules) == ["A"]
    assert rules["A"].market_step == Decimal("0.01")  # zero: nothing beyond LOT_SIZE


@settings(deadline=None)  # a shared machine may be busy
@given(json_values)
def test_arbitrary_exchange_info(value: Any) -> None:
    for body in ({"symbols": value}, value):
        with contextlib.suppress(Malformed):
            parse.exchange_rules(json.dumps(body).encode())
