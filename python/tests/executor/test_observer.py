"""What a position is taken to be, from the snapshot and from our own books."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest

from quantum_exit import keys
from quantum_exit.bus.connection import connect
from quantum_exit.bus.line import Line
from quantum_exit.executor.market import Market
from quantum_exit.executor.observer import Observer, position_state
from quantum_exit.executor.tape import Tape
from quantum_exit.gates.model import ObservedPosition
from quantum_exit.values import Stale, Unknown

from .harness import World
from .test_work import claim_of

NOW = 1_000_000.0


def snapshot(amount: str, at: float) -> list[bytes | None]:
    return [amount.encode(), b"60000", str(at).encode()]


def ledger(amount: str, at: float) -> list[bytes | None]:
    return [amount.encode(), str(at).encode()]


def test_a_younger_fill_of_ours_counts_with_what_was_there_before_us() -> None:
    state = position_state(
        "BTCUSDT", snapshot("0.9", NOW - 1), ledger("-0.9", NOW), [None, None], NOW, b"0.9"
    )
    assert isinstance(state, ObservedPosition)
    assert (state.amount, state.own_amount) == (Decimal("0.9"), Decimal(0))


def test_an_older_fill_says_nothing_beside_a_newer_observation() -> None:
    state = position_state(
        "BTCUSDT", snapshot("0.5", NOW), ledger("0.9", NOW - 1), [None, None], NOW
    )
    assert isinstance(state, ObservedPosition)
    assert state.own_amount is None


@pytest.mark.parametrize(("age_s", "kind"), [(9.0, ObservedPosition), (11.0, Stale)])
def test_a_snapshot_ages(age_s: float, kind: type) -> None:
    state = position_state("BTCUSDT", snapshot("1", NOW - age_s), [None, None], [None, None], NOW)
    assert isinstance(state, kind)


def test_never_observed_is_not_flat_and_an_account_without_it_is() -> None:
    nothing: list[bytes | None] = [None, None, None]
    never = position_state("BTCUSDT", nothing, [None, None], [None, None], NOW)
    assert isinstance(never, Unknown)
    seen_all: list[bytes | None] = [str(NOW).encode(), b'["ETHUSDT"]']
    flat = position_state("BTCUSDT", nothing, [None, None], seen_all, NOW)
    assert isinstance(flat, ObservedPosition)
    assert flat.amount == 0
    assert flat.own_amount is None
    filled = position_state("BTCUSDT", nothing, ledger("0.2", NOW + 1), seen_all, NOW + 1)
    assert isinstance(filled, ObservedPosition)
    assert (filled.amount, filled.own_amount) == (0, Decimal("0.2"))
    listed = position_state("ETHUSDT", nothing, [None, None], seen_all, NOW)
    assert isinstance(listed, Unknown)


def test_a_look_before_a_fill_with_it_added_is_a_look_behind_it(redis_url: str) -> None:
    client = connect(redis_url)
    client.flushall()
    now = time.time()
    snapshot = {"position_amt": "2", "mark_price": "100", "ts_epoch": f"{now - 1:.3f}"}
    client.hset(keys.snapshot("BTCUSDT"), mapping=snapshot)
    client.hset(keys.position_baseline("BTCUSDT"), "amount", "1.5")
    claim = claim_of(World.signed())
    line = Line(client)
    before, behind = (
        Observer(line, Market(), Tape(), wall=lambda: now, monotonic=lambda: 1.0) for _ in range(2)
    )
    before.look([claim])
    assert before.observed(claim) == before.observed(claim, {})
    fill = {"position_amt": "-0.5", "updated_at": f"{now:.3f}"}
    client.hset(keys.ledger("BTCUSDT"), mapping=fill)
    behind.look([claim])
    seen = before.observed(claim, fill)
    assert seen == behind.observed(claim)
    assert isinstance(seen.position, ObservedPosition)
    assert seen.position.own_amount == 1
    client.close()
