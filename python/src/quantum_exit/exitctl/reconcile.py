"""`exitctl reconcile SYMBOL`: a person says that the exchange is right, and P3.3 adjusts."""

from __future__ import annotations

import json
import time
from typing import Final

import redis

from quantum_exit import keys
from quantum_exit.exitctl import control
from quantum_exit.exitctl.context import EXIT_DONE, EXIT_FAILED, Context
from quantum_exit.exitctl.leave import checked_symbol
from quantum_exit.proofs.observe import read_hash

_POLL_S: Final = 0.05


def run(context: Context, symbol_text: str, reason: str, wait_s: int) -> int:
    symbol = checked_symbol(symbol_text)
    act = control.act_now(context.environ, reason)
    client = context.redis()
    before = _seen(client, symbol)
    request = {"by": act.by, "reason": act.reason, "at": act.at, "epoch": act.epoch}
    noted = control.entry(act, "RECONCILE_REQUESTED", {"symbol": symbol})
    asked = ("SET", keys.reconcile_request(symbol), json.dumps(request))
    control.perform(client, [asked, *noted])
    done = _wait(client, symbol, wait_s)
    if not done:
        # Left behind, it would be obeyed later, when nobody looks.
        client.delete(keys.reconcile_request(symbol))
    after = _seen(client, symbol)
    document = {"symbol": symbol, "reconciled": done, "before": before, "after": after}
    context.emit(document, _text(symbol, done, before, after))
    return EXIT_DONE if done else EXIT_FAILED


def _wait(client: redis.Redis, symbol: str, wait_s: int) -> bool:
    """Until P3.3 took the request and holds the symbol no longer."""
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        if not client.exists(keys.reconcile_request(symbol), keys.reconcile_hold(symbol)):
            return True
        time.sleep(_POLL_S)
    return False


def _seen(client: redis.Redis, symbol: str) -> dict[str, object]:
    hold = read_hash(client, keys.reconcile_hold(symbol))
    return {
        "exchange": read_hash(client, keys.snapshot(symbol)).get("position_amt", "not known"),
        "ledger": read_hash(client, keys.ledger(symbol)).get("position_amt", "none"),
        "hold": hold.get("reason", "yes") if hold else None,
    }


def _text(symbol: str, done: bool, before: dict[str, object], after: dict[str, object]) -> str:
    held = f"held for {before['hold']}" if before["hold"] else "not held"
    lines = [f"  exchange {before['exchange']}, our fills add up to {before['ledger']}, {held}"]
    if done:
        return "\n".join([f"RECONCILED {symbol}: the exchange counts", *lines])
    mend = (
        f"  still held for {after['hold']}; " if after["hold"] else "  the request was not taken; "
    ) + "see `exitctl status` and journalctl -u quantum-position-state-brain.service"
    return "\n".join([f"NOT RECONCILED {symbol} in time", *lines, mend])
