"""Where drills are held, by P3.3's own books: a symbol without a position, and one with one."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import redis

from quantum_exit import keys
from quantum_exit.proofs import observe
from quantum_exit.proofs.model import Outcome
from quantum_exit.proofs.observe import Beat
from quantum_exit.values import InvalidNumberError, parse_amount

P33_MAY_START_S: Final = 120.0
"""For so long after the first start positions may be unknown."""
_LISTED_EVERYWHERE: Final = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT", "XRPUSDT")


@dataclass(frozen=True, slots=True)
class Ground:
    """A symbol without a position, and one with a position, if any."""

    flat: str
    held: str | None
    held_amount: Decimal


@dataclass(frozen=True, slots=True)
class NoGround:
    """Why no drill can be held. `outcome`: FAIL when that is nothing to be content with; each
    proof says so once."""

    why: str
    outcome: Outcome = Outcome.INFO


def find_ground(bus: redis.Redis) -> Ground | NoGround:
    """Raises redis.RedisError."""
    symbols = observe.load_json(observe.read_hash(bus, keys.SNAPSHOT_STATE).get("symbols"))
    if not isinstance(symbols, list):
        return _unknown_positions(bus, time.time())
    flat = choose_symbol(bus, symbols)
    if flat is None:
        return NoGround("no symbol without a position: not tried")
    for symbol in sorted(str(each) for each in symbols):
        try:
            text = observe.read_hash(bus, keys.snapshot(symbol)).get("position_amt", "")
            amount = parse_amount(text)
        except InvalidNumberError:
            continue
        if amount:
            return Ground(flat, symbol, amount)
    return Ground(flat, None, Decimal(0))


def _unknown_positions(bus: redis.Redis, now_epoch: float) -> NoGround:
    """Not yet is fine while P3.3 runs and no service of ours has been up for long: one that
    starts again and again would be young for ever."""
    beats = observe.read_beats(bus, now_epoch)
    fresh = {name: b for name, b in beats.items() if isinstance(b, Beat) and b.fresh}
    up_s = max((now_epoch - beat.started_epoch for beat in fresh.values()), default=0.0)
    if "position_state" in fresh and up_s <= P33_MAY_START_S:
        return NoGround(f"positions are not known yet, {up_s:.0f} s after the start: not tried")
    why = (
        f"positions are not known, so nothing was tried: P3.3 has not written {keys.SNAPSHOT_STATE}"
        "; see quantum-position-state-brain.service"
    )
    return NoGround(why, Outcome.FAIL)


def choose_symbol(bus: redis.Redis, held: Iterable[str]) -> str | None:
    """From the policy's universe, else one that every such exchange lists."""
    listed = observe.load_json(observe.read_hash(bus, keys.POLICY_CURRENT).get("universe_symbols"))
    universe = [s for s in listed if isinstance(s, str)] if isinstance(listed, list) else []
    return flat_symbol(held, (*sorted(universe), *_LISTED_EVERYWHERE))


def flat_symbol(held: Iterable[str], among: Iterable[str]) -> str | None:
    """The first in which nothing is held."""
    taken = set(held)
    return next((symbol for symbol in among if symbol not in taken), None)
