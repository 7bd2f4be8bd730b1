"""How fast and how small the executor is: `python -m benchmarks.executor [--quick | --flat N]`.

Each figure stands beside those of a consumer written by hand and of a dramatiq worker that do a
part of the job, measured in the same run, with the ratios. dramatiq is no part of the project's
tools: `pip install --require-hashes -r requirements/benchmarks.txt` puts it beside them.

`--flat N` sends N plans that are denied, and tells the memory on the way: it must not grow.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
from datetime import UTC, datetime

from .rig import BY_HAND, DRAMATIQ, EXECUTOR, Measured, Rig, quantile

WAITING = "  the same beside 100 that wait, p99"
BACKLOG = "  the same behind a backlog, cgroup MiB"
TARGETS = {
    "plan to wire, p50 ms": (1.0, 2.0),
    "plan to wire, p99 ms": (3.0, 5.0),
    "denied plans/s": (10_000, 10_000),
    "executed plans/s, 20 ms exchange": (350, 350),
    "memory, RSS MiB": (42, 42),  # 44 MB
    "memory, by cgroup MiB": (28, 28),
}
EXCHANGE_S = 0.02
_FLAT_STEP = 20_000


def measure(rig: Rig, kind: str, scale: float) -> dict[str, float]:
    found: dict[str, float] = {}
    measured = rig.start(kind)
    latencies = measured.latencies_ms(int(400 * scale))
    found["plan to wire, p50 ms"] = quantile(latencies, 0.50)
    found["plan to wire, p99 ms"] = quantile(latencies, 0.99)
    if kind == EXECUTOR:
        beside = measured.latencies_beside_waiting_ms(int(200 * scale), 100)
        found[WAITING] = quantile(beside, 0.99)
    denied = int((40_000 if kind == EXECUTOR else 8_000) * scale)
    rate, cpu_us = measured.per_second(denied, owner=False)
    found["denied plans/s"] = rate
    found["  processor time each, µs"] = cpu_us
    found.update(_memory(measured))
    executed = int((400 if kind == BY_HAND else 2_000) * scale)
    rate, cpu_us = measured.per_second(executed, owner=True, delay_s=EXCHANGE_S)
    found["executed plans/s, 20 ms exchange"] = rate
    found["  processor time each,  µs"] = cpu_us
    found[BACKLOG] = measured.memory_mib()["cgroup"]
    measured.stop()
    return found


def _memory(measured: Measured) -> dict[str, float]:
    """In steady state: hundreds of orders, one after another, and a flood of denials behind it."""
    sizes = measured.memory_mib()
    return {
        "memory, RSS MiB": sizes["rss"],
        "memory, PSS MiB": sizes["pss"],
        "memory, by cgroup MiB": sizes["cgroup"],
    }


def compare(scale: float) -> None:
    others = [BY_HAND]
    if importlib.util.find_spec("dramatiq") is None:
        print("dramatiq is not installed and not measured: see --help")
    else:
        others.append(DRAMATIQ)
    for number, (durable, name) in enumerate(((False, "in memory"), (True, "appendfsync always"))):
        print(f"\nRedis {name}; {_machine()}")
        heads = "".join(f"{kind:>12}{'ratio':>8}" for kind in others)
        print(f"  {'':36}{EXECUTOR:>12}{heads}   target")
        with Rig(durable=durable) as rig:
            alone = rig.floor(EXCHANGE_S, 10 * scale)
            print(f"  {'the exchange alone, eight clients':36}{alone:12.2f}", flush=True)
            ours, *theirs = (measure(rig, kind, scale) for kind in (EXECUTOR, *others))
        for what, value in ours.items():
            beside = "".join(_beside(value, other.get(what)) for other in theirs)
            target = f"   {TARGETS[what][number]:g}" if what in TARGETS else ""
            print(f"  {what:36}{value:12.2f}{beside}{target}", flush=True)


def _beside(value: float, other: float | None) -> str:
    return f"{'':20}" if other is None else f"{other:12.2f}{value / other:8.2f}"


def stay_flat(plans: int) -> None:
    """Without fsync, to have it over sooner: what Redis does is not what is measured."""
    print(
        f"{_machine()}\n{'denied':>10}{'plans/s':>10}{'cgroup MiB':>12}{'RSS MiB':>10}", flush=True
    )
    with Rig(durable=False) as rig:
        measured = rig.start(EXECUTOR)
        for done in range(0, plans, _FLAT_STEP):
            rate, _ = measured.per_second(min(_FLAT_STEP, plans - done), owner=False)
            if done % (5 * _FLAT_STEP) == 0 or done + _FLAT_STEP >= plans:
                sizes = measured.memory_mib()
                told = f"{rate:10.0f}{sizes['cgroup']:12.2f}{sizes['rss']:10.2f}"
                print(f"{min(done + _FLAT_STEP, plans):10}{told}", flush=True)
        measured.stop()


def _machine() -> str:
    loads = " ".join(f"{load:.1f}" for load in os.getloadavg())
    now = datetime.fromtimestamp(time.time(), UTC)
    return f"{os.cpu_count()} processors, load average {loads}, {now:%Y-%m-%d %H:%M} UTC"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--quick", action="store_true", help="a tenth of the plans")
    kind.add_argument("--flat", type=int, metavar="N", help="memory over N denied plans")
    chosen = parser.parse_args()
    if chosen.flat:
        stay_flat(chosen.flat)
    else:
        compare(0.1 if chosen.quick else 1.0)


if __name__ == "__main__":
    main()
