"""Messages to draw from: valid ones, and noise that resembles them."""

from __future__ import annotations

from hypothesis import strategies as st

from quantum_exit.messages import Decision, IntentAction, OrderType
from quantum_exit.signing import INTENT_FIELDS, PLAN_FIELDS

NOW_EPOCH = 1_800_000_000.0

PLAN = {
    "plan_id": "exit-1",
    "decision": "EXECUTE",
    "reason": "stop_loss",
    "symbol": "BTCUSDT",
    "side": "SELL",
    "type": "MARKET",
    "qty": "0.5",
    "reduceOnly": "true",
    "source": "exitbrain_v3_5",
    "signature": "apply_layer",
    "timestamp": "1800000000.5",
    "action": "FULL_CLOSE",
}
INTENT = {
    "intent_id": "i-1",
    "symbol": "BTCUSDT",
    "action": "FULL_CLOSE",
    "side": "LONG",
    "qty_fraction": "1",
    "quantity": "0.5",
    "entry_price": "60000",
    "mark_price": "58000.1",
    "reason": "stop_loss",
    "source": "exitbrain_v3_5",
    "ts_epoch": "1800000000.25",
}

names = st.sampled_from(sorted(PLAN_FIELDS | INTENT_FIELDS | {"sig", "note"}))
_words = st.sampled_from(
    [
        *Decision,
        *OrderType,
        *IntentAction,
        *("BUY", "SELL", "LONG", "SHORT", "FLAT", "true", "false", "TRUE", "", " ", "\n", "\x00"),
        *("1", "0", "-1", "+1", "1e5", "1E400", "NaN", "inf", " 1", "1 ", "1_0", "٣", "0x10"),
        *("0.5", ".5", "5.", "1" * 31, "0." + "1" * 19, "BTCUSDT", "btcusdt", "币安人生USDT"),
        *("{}", "[]", "null", '{"a":1}', '{"a":"b","a":"c"}', "[" * 5000, "\u2028", "\u202e"),
    ]
)
values = st.one_of(_words, st.text(max_size=40), st.text("0123456789.+-eE", max_size=40))
raw_values = st.one_of(values.map(lambda text: text.encode("utf-8", "replace")), st.binary())
raw_names = st.one_of(names.map(str.encode), st.binary(max_size=12))

noise = st.dictionaries(raw_names, raw_values, max_size=18)
"""What a stream entry may hold when a producer is broken or hostile."""


def almost(base: dict[str, str]) -> st.SearchStrategy[dict[bytes, bytes]]:
    """A valid message with a few fields changed, added or left out."""
    changes = st.dictionaries(names, st.none() | raw_values, max_size=3)
    return changes.map(lambda changed: _changed(base, changed))


def _changed(base: dict[str, str], changed: dict[str, bytes | None]) -> dict[bytes, bytes]:
    fields: dict[str, bytes | None] = {**{k: v.encode() for k, v in base.items()}, **changed}
    return {name.encode(): value for name, value in fields.items() if value is not None}


raw_plans = st.one_of(almost(PLAN), almost(INTENT), noise)
