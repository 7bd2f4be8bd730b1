"""Is this host fit for the demonstration? Says what is not, and the mend."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import redis

from quantum_exit import keys
from quantum_exit.policy.reader import StalePolicy, ValidPolicy, parse_policy
from quantum_exit.proofs import host, observe
from quantum_exit.values import Unknown


def obstacles(bus: redis.Redis, environ: Mapping[str, str], symbol: str) -> list[str]:
    """What stands in the way right now; empty when nothing does."""
    now_epoch = time.time()
    beats = observe.read_beats(bus, now_epoch)
    found = [
        f"the kill switch is on ({place.name}: {place.why}); {place.mend}"
        for place in observe.kill_places(bus, environ, beats)
        if place.blocks
    ]
    for service, beat in beats.items():
        unit = host.UNITS[service]
        if isinstance(beat, Unknown):
            found.append(f"{unit}: {beat.why}")
        elif not beat.fresh:
            found.append(f"{unit} was last heard {beat.age_s:.0f} s ago; journalctl -u {unit}")
        elif not beat.ready:
            found.append(f"{unit} is not ready: {beat.status}")
    mode = observe.brain_mode(beats["exitbrain"])
    if not isinstance(mode, Unknown) and mode.state != "LIVE":
        found.append(f"the Exit Brain is in {mode.state}: {'; '.join(mode.against)}")
    return found + _policy_obstacles(bus, symbol, now_epoch)


def _policy_obstacles(bus: redis.Redis, symbol: str, now_epoch: float) -> list[str]:
    """Of opening; closing goes on without a policy."""
    policy = parse_policy(observe.read_hash(bus, keys.POLICY_CURRENT), now_epoch)
    mend = "systemctl start quantum-policy-refresh.service"
    if isinstance(policy, StalePolicy):
        return [f"the policy ran out {policy.expired_for_s:.0f} s ago, so nothing opens; {mend}"]
    if isinstance(policy, ValidPolicy):
        if symbol not in policy.view.universe:
            listed = ", ".join(sorted(policy.view.universe)[:10])
            return [f"{symbol} is not in the policy's universe; it has {listed}"]
        return []
    return [f"the policy is {policy.why}, so nothing opens; {mend}"]


def wait_until_fit(
    look: Callable[[], list[str]], say: Callable[[str], None], timeout_s: float
) -> list[str]:
    """Services need a moment after their start. Returns what is left when time has run out."""
    deadline = time.monotonic() + timeout_s
    told: list[str] = []
    while True:
        left = look()
        if not left or time.monotonic() > deadline:
            return left
        if left != told:
            say(f"waiting: {left[0]}" + (f" (and {len(left) - 1} more)" if left[1:] else ""))
            told = left
        time.sleep(0.2)
