"""The Exit Brain's proof: six tests of what runs now."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import redis

from quantum_exit.proofs import checks, exchange, observe
from quantum_exit.proofs.model import Check, Expect, Outcome, Proof
from quantum_exit.proofs.observe import Beat, SeenMode
from quantum_exit.values import Unknown

TITLE: Final = "EXIT BRAIN PROOF"
SERVICE: Final = "exitbrain"
_CYCLE_PATIENCE_S: Final = 5.0
_POLL_S: Final = 0.05


def run(bus: redis.Redis, environ: Mapping[str, str], expect: Expect) -> Proof:
    """Raises redis.RedisError when Redis is gone: then nothing can be proven."""
    began = time.time()
    beats = observe.read_beats(bus, began)
    first = beats[SERVICE]
    client = exchange.make_client(environ)
    account = exchange.account_test(client, bus, environ)
    history = exchange.history_test(client, bus)
    tests = (
        checks.service(SERVICE, first),
        cycle_test(bus, first),
        mode_test(observe.brain_mode(first), expect),
        checks.kill_switch(observe.kill_places(bus, environ, beats), expect),
        replace(account, evidence=(*account.evidence, stops_line(first))),
        history,
    )
    return Proof("exitbrain", TITLE, began, tests)


def cycle_test(bus: redis.Redis, first: Beat | Unknown) -> Check:
    """Two different cycle numbers seen within seconds: it works now, not just once."""
    name, key = "Recent cycles", "cycles"
    begin = _cycle(first)
    if begin is None or not isinstance(first, Beat):
        why = first.why if isinstance(first, Unknown) else "its heartbeat holds no cycle number"
        return Check(key, name, Outcome.FAIL, (why,), critical=True)
    deadline = time.monotonic() + _CYCLE_PATIENCE_S
    while True:
        beat = observe.read_beat(bus, SERVICE, time.time())
        now = _cycle(beat)
        if now is not None and now > begin and isinstance(beat, Beat) and beat.fresh:
            told = f"cycle {begin} → {now}, heartbeat {max(beat.age_s, 0):.1f} s old"
            return Check(key, name, Outcome.PASS, (told,), critical=True)
        if time.monotonic() > deadline:
            break
        time.sleep(_POLL_S)
    age = f"{beat.age_s:.1f} s old" if isinstance(beat, Beat) else "gone"
    told = f"no cycle after {begin} within {_CYCLE_PATIENCE_S:.0f} s; heartbeat {age}"
    return Check(key, name, Outcome.FAIL, (told,), critical=True)


def stops_line(beat: Beat | Unknown) -> str:
    """Whether a far stop of each LIVE position rests on the exchange, as the brain says."""
    if not isinstance(beat, Beat) or not beat.fields.get("exchange_stop"):
        return "stops on the exchange: not known"
    if beat.fields["exchange_stop"] != "on":
        return "stops on the exchange: switched off (EXIT_BRAIN_EXCHANGE_STOP)"
    missing = beat.fields.get("exchange_stops_missing", "")
    without = f"; ⚠️ without one: {missing}" if missing else ""
    return f"stops on the exchange: on, {beat.fields.get('exchange_stops', '0')} rest{without}"


def _cycle(beat: Beat | Unknown) -> int | None:
    text = beat.fields.get("cycle", "") if isinstance(beat, Beat) else ""
    return int(text) if text.isdigit() else None


def mode_test(mode: observe.ModeSeen | Unknown, expect: Expect) -> Check:
    """The mode of the process that runs now, whatever an old log line says."""
    wanted = {Expect.LIVE: SeenMode.LIVE, Expect.SHADOW: SeenMode.SHADOW}.get(expect)
    name = f"{wanted} mode active" if wanted else "Mode"
    if isinstance(mode, Unknown):
        return Check("mode", name, Outcome.FAIL, (mode.why,), critical=True)
    told = (f"{mode.state} by the {mode.where}", *mode.against)
    if wanted is None:
        return Check("mode", name, Outcome.INFO, told, critical=True)
    return Check("mode", name, checks.outcome(mode.state is wanted), told, critical=True)
