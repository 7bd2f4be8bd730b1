"""What would have happened beside what did."""

from decimal import Decimal

from quantum_exit.brain.shadow_report import Happened, shadow_report

ENTRY = {
    "intent_id": "BTCUSDT-1-stop-1",
    "symbol": "BTCUSDT",
    "action": "FULL_CLOSE",
    "side": "LONG",
    "quantity": "2",
    "qty_fraction": "1",
    "mark_price": "98",
    "reason": "STOP_LOSS: mark=98",
    "source": "exitbrain_v3_5",
    "ts_epoch": "1000",
    "mode": "SHADOW",
}
RESULT = {
    "plan_id": "legacy-1",
    "symbol": "BTCUSDT",
    "decision": "EXECUTED",
    "side": "SELL",
    "filled_qty": "2",
    "plan_source": "manual_close",
    "timestamp": "1060.5",
    "details": '{"avg_price": "95"}',
}


def test_a_later_exit_is_found_with_its_source_and_what_waiting_cost() -> None:
    earlier = {**RESULT, "timestamp": "999"}
    opening = {**RESULT, "side": "BUY", "timestamp": "1010"}
    denied = {**RESULT, "filled_qty": "0", "timestamp": "1020"}
    (row,) = shadow_report([ENTRY], [earlier, opening, denied, RESULT], {}, {}).rows
    assert (row.happened, row.by, row.after_s) == (Happened.EXITED, "manual_close", 60.5)
    assert row.gain == -6


def test_a_short_gains_when_the_price_falls_on() -> None:
    short = {**ENTRY, "side": "SHORT", "mark_price": "102"}
    amounts, marks = {"BTCUSDT": Decimal(-2)}, {"BTCUSDT": Decimal(99)}
    report = shadow_report([short], [], amounts, marks)
    assert report.rows[0].happened is Happened.STILL_OPEN
    assert report.total_gain == 6


def test_a_position_that_went_without_a_result_is_called_gone() -> None:
    (row,) = shadow_report([ENTRY], [], {"BTCUSDT": Decimal(-1)}, {"BTCUSDT": Decimal(99)}).rows
    assert (row.happened, row.price, row.gain) == (Happened.GONE, None, None)


def test_an_exit_whose_price_is_not_told_has_no_gain() -> None:
    (row,) = shadow_report([ENTRY], [{**RESULT, "details": "{}"}], {}, {}).rows
    assert (row.happened, row.gain) == (Happened.EXITED, None)


def test_noise_in_the_stream_is_counted() -> None:
    report = shadow_report([{"what": "ever"}, ENTRY], [], {}, {})
    assert (report.unreadable, len(report.rows)) == (1, 1)
    assert report.as_json()["unreadable"] == 1
