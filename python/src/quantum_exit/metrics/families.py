"""What is exported: every metric's name, labels and meaning, in one place.

Labels are few and bounded: services, streams, decisions and reasons that our own code names,
never a symbol, a plan or a source, which others could make up without end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

GAUGES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "quantum_redis_up": ("1 if Redis answered this scrape; without it nothing else is told", ()),
    "quantum_release_info": ("1, with the release that this process runs", ("version",)),
    "quantum_ready": ("1 if a service says that it is ready and said so lately", ("service",)),
    "quantum_heartbeat_age_seconds": ("since a service was last heard of", ("service",)),
    "quantum_mode": ("1 for the mode that the Exit Brain is in, 0 for the others", ("mode",)),
    "quantum_kill_switch_active": (
        "1 if the kill switch is on in this place: redis, file, env; missing is on",
        ("place",),
    ),
    "quantum_brain_cycle_age_seconds": ("since the Exit Brain last ended a good cycle", ()),
    "quantum_positions": ("positions that the Exit Brain watches", ()),
    "quantum_unprotected_seconds": ("for how long the longest has had no working stop", ()),
    "quantum_exchange_stops_missing": ("LIVE positions without a stop on the exchange", ()),
    "quantum_orders_open": ("orders granted and not settled yet", ()),
    "quantum_stream_entries": ("entries in a stream", ("stream",)),
    "quantum_stream_pending": ("read by a group and not acknowledged", ("stream", "group")),
    "quantum_stream_unread": ("not read by a group yet", ("stream", "group")),
    "quantum_policy_valid_seconds": ("until the policy runs out; negative when it has", ()),
    "quantum_proof_verdict": ("0 PASS, 1 PARTIAL, 2 FAIL, 3 could not be run", ("proof",)),
    "quantum_proof_age_seconds": ("since a proof last ended", ("proof",)),
    "quantum_alerts_waiting": ("alerts that a destination has not got yet", ("destination",)),
    "quantum_alerts_trouble": ("1 while a destination does not take alerts", ("destination",)),
    "quantum_alerts_canary_age_seconds": ("since a canary last arrived everywhere", ()),
}
COUNTERS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "quantum_plans": ("plans that have ended, by decision", ("decision",)),
    "quantum_gate_outcomes": ("plans by the gate that ended them", ("outcome",)),
    "quantum_exit_owner_denied": (
        "exits of others than the owner that were denied, proofs' too",
        (),
    ),
    "quantum_watch_denials": ("denials that the watch has told of, those of proofs left out", ()),
    "quantum_permits": ("permits of P3.3, by outcome", ("outcome",)),
    "quantum_permit_refusals": ("refusals of P3.3, by reason", ("reason",)),
    "quantum_unprotected": ("seconds without a working stop, over all positions", ()),
    "quantum_alert_repeats": ("alerts that only said again what had been told", ()),
}
PLAN_SECONDS: Final = "quantum_plan_duration_seconds"
PLAN_HELP: Final = "from a plan's arrival in its stream to its result, by decision"
EXIT_SECONDS: Final = "quantum_exit_duration_seconds"
EXIT_HELP: Final = "from a signed intent's arrival in its stream to its executed result"
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds. A permit may take 8 s, a plan lives for 60."""
