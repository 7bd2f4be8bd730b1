"""`python -m benchmarks.executor [--quick]`: each figure beside the yardstick's, and the ratio."""

from __future__ import annotations

import argparse

from .rig import Measured, Rig, quantile

TARGETS = {
    "plan to wire, p50 ms": (1.0, 2.0),
    "plan to wire, p99 ms": (3.0, 5.0),
    "denied plans/s": (10_000, 10_000),
    "executed plans/s, 20 ms exchange": (350, 350),
    "memory, RSS MiB": (44, 44),
    "memory, by cgroup MiB": (28, 28),
}


def measure(rig: Rig, kind: str, scale: float) -> dict[str, float]:
    found: dict[str, float] = {}
    measured = rig.start(kind)
    latencies = measured.latencies_ms(int(400 * scale))
    found["plan to wire, p50 ms"] = quantile(latencies, 0.50)
    found["plan to wire, p99 ms"] = quantile(latencies, 0.99)
    denied = int((40_000 if kind == "executor" else 8_000) * scale)
    rate, cpu_us = measured.per_second(denied, owner=False)
    found["denied plans/s"] = rate
    found["  processor time each, µs"] = cpu_us
    executed = int((2_000 if kind == "executor" else 400) * scale)
    rate, cpu_us = measured.per_second(executed, owner=True, delay_s=0.02)
    found["executed plans/s, 20 ms exchange"] = rate
    found["  processor time each,  µs"] = cpu_us
    found.update(_memory(measured))
    measured.stop()
    return found


def _memory(measured: Measured) -> dict[str, float]:
    sizes = measured.memory_mib()
    return {
        "memory, RSS MiB": sizes["rss"],
        "memory, PSS MiB": sizes["pss"],
        "memory, by cgroup MiB": sizes["cgroup"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the plans")
    scale = 0.1 if parser.parse_args().quick else 1.0
    for number, (durable, name) in enumerate(((False, "in memory"), (True, "appendfsync always"))):
        print(f"\nRedis {name}")
        print(f"  {'':36}{'executor':>12}{'by hand':>12}{'ratio':>8}   target")
        with Rig(durable=durable) as rig:
            ours, theirs = measure(rig, "executor", scale), measure(rig, "naive", scale)
        for what, value in ours.items():
            target = TARGETS[what][number] if what in TARGETS else None
            said = "" if target is None else f"   {target:g}"
            ratio = value / theirs[what]
            print(f"  {what:36}{value:12.2f}{theirs[what]:12.2f}{ratio:8.2f}{said}", flush=True)


if __name__ == "__main__":
    main()
