"""How long the Exit Brain takes for 500 positions: `python benchmarks/brain_cycle.py`.

Prints medians in milliseconds, and each beside the plainest loop that could do the job in
floats (a dictionary of stops, one comparison a position), as a ratio from the same run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal

from quantum_exit.binance.model import Position
from quantum_exit.brain.policy import ParamsInUse
from quantum_exit.brain.protection import Protection
from quantum_exit.brain.state import BrainState
from quantum_exit.brain.store import Reading
from quantum_exit.brain.switches import current_mode
from quantum_exit.brain.think import Inputs, think
from quantum_exit.brain.track import dump_track
from quantum_exit.brain.world import Seen
from quantum_exit.exit_mode import ExitMode
from quantum_exit.exits.params import parse_harvest_params
from quantum_exit.kill_switch import dump_runtime
from quantum_exit.signing import INTENT_FIELDS, Signer, generate_seed

TARGET_MS = 50.0
LIVE = {
    "EXIT_BRAIN_V35_ENABLED": "true",
    "EXIT_MODE": "EXIT_BRAIN_V3",
    "EXIT_EXECUTOR_MODE": "LIVE",
    "EXIT_BRAIN_V3_LIVE_ROLLOUT": "ENABLED",
}
HARVEST = {
    "default": {
        "stop_loss_pct": "2",
        "take_profits": [{"pct": "5", "fraction": "0.5"}, {"pct": "10", "fraction": "0.25"}],
        "break_even_at_pct": "1.5",
        "trailing_start_pct": "3",
        "trailing_distance_pct": "1",
        "max_hold_s": "86400",
    }
}


def positions(count: int) -> dict[str, Position]:
    return {
        f"SYM{n}USDT": Position(
            symbol=f"SYM{n}USDT",
            amount=Decimal(n % 7 + 1) * (1 if n % 2 else -1),
            entry_price=Decimal(100 + n) / 3,
            mark_price=Decimal(100 + n) / 3,
            unrealized_pnl=Decimal(0),
            leverage=None,
            liquidation_price=None,
            update_time_ms=1_700_000_000_000,
        )
        for n in range(count)
    }


def inputs(held: Mapping[str, Position], factor: Decimal, now_epoch: float) -> Inputs:
    """Prices at `factor` times the entry."""
    kill = dump_runtime(active=False, by="", reason="", at="", epoch=0).encode()
    mode = current_mode(ExitMode.from_environ(LIVE), kill, "")
    text = json.dumps(HARVEST)
    return Inputs(
        now_epoch=now_epoch,
        seen=Seen(
            {
                symbol: replace(p, mark_price=(p.entry_price * factor).normalize())
                for symbol, p in held.items()
            }
        ),
        reading=Reading(
            kill_switch=kill,
            policy={},
            results=(),
            cursor="0-0",
            granted=frozenset(),
            state_lost=False,
        ),
        mode=mode,
        params=ParamsInUse(parse_harvest_params(text), text, ""),
        policy_trouble_said=False,
        atrs={},
        stop_list=None,
        stop_fills={},
        owner="exitbrain_v3_5",
        cycle_s=1.0,
        exchange_stop=False,
    )


def median_ms(rounds: int, run: Callable[[int], object]) -> float:
    took = []
    for number in range(rounds):
        began = time.perf_counter()
        run(number)
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


def plain_loop(held: Mapping[str, Position]) -> Callable[[int], object]:
    stops = {s: float(p.entry_price) * 0.98 for s, p in held.items()}
    marks = {s: float(p.entry_price) for s, p in held.items()}

    def run(_: int) -> list[str]:
        return [s for s, stop in stops.items() if marks[s] <= stop]

    return run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--positions", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=30)
    chosen = parser.parse_args()
    held = positions(chosen.positions)
    empty = BrainState({}, {}, {}, Protection(), "0-0", "LIVE", "", first_run=True)
    now = 1_700_000_100.0
    state = think(empty, inputs(held, Decimal(1), now)).state
    signer = Signer(generate_seed())

    def cycle(factor: str) -> Callable[[int], object]:
        seen = inputs(held, Decimal(factor), now + 1)
        return lambda _: think(state, seen)

    crash = think(state, inputs(held, Decimal("1.05"), now + 1))
    plain_ms = median_ms(chosen.rounds, plain_loop(held))
    rows = {
        "quiet: nothing to do": median_ms(chosen.rounds, cycle("1")),
        "moving: every best price new": median_ms(chosen.rounds, cycle("1.001")),
        f"crash: {len(crash.commit.wishes)} exits at once": median_ms(chosen.rounds, cycle("1.05")),
        "adopting all of them": median_ms(
            chosen.rounds, lambda _: think(replace(empty), inputs(held, Decimal(1), now))
        ),
    }
    extra = {
        "writing down all tracks": median_ms(
            chosen.rounds, lambda _: [dump_track(track) for track in crash.state.tracks.values()]
        ),
        "signing those exits": median_ms(
            3, lambda _: [signer.sign(wish.fields, INTENT_FIELDS) for wish in crash.commit.wishes]
        ),
    }
    print(f"{chosen.positions} positions, medians of {chosen.rounds}; plain loop {plain_ms:.3f} ms")
    for name, took_ms in {**rows, **extra}.items():
        print(f"  {name:34} {took_ms:8.2f} ms  {took_ms / plain_ms:8.0f} x the plain loop")
    worst_ms = max(rows.values())
    verdict = "within" if worst_ms < TARGET_MS else "OVER"
    print(f"deciding: {worst_ms:.1f} ms at worst, {verdict} the target of {TARGET_MS:.0f} ms")
    return 0 if worst_ms < TARGET_MS else 1


if __name__ == "__main__":
    sys.exit(main())
