"""Every check of every proof by its key, for documentation and for what counts them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

CATALOGUE: Final[Mapping[str, Mapping[str, str]]] = {
    "exitbrain": {
        "service": "its unit is active, its heartbeat fresh and ready",
        "cycles": "two different cycles are seen within seconds",
        "mode": "it runs in the mode that is expected",
        "kill_switch": "every place of the kill switch says what is expected",
        "exchange": "balance, positions and open orders are read; each position has its stop",
        "history": "our last executed order is in the exchange's books",
    },
    "executor": {
        "service": "its unit is active, its heartbeat fresh and ready",
        "groups": "both plan streams are read and answered",
        "open": "no outcome is unknown for longer than 120 s",
        "kill_switch": "the places it goes by say what is expected",
        "passes": "a signed exit of the owner passes every gate up to the send, with a real permit",
        "denials": "unsigned, forged, replayed, disguised and foreign exits are denied",
        "quiet": "no request was signed for any of them, and the exchange knows none",
    },
    "apply": {
        "service": "its unit is active, its heartbeat fresh and ready",
        "owner": "the owner's public key is known, and verifies what the owner signs",
        "group": "intents are read and answered",
        "carried": "an intent of the owner becomes a plan that carries it, unchanged",
        "blocked": "foreign, unsigned, forged and changed intents are blocked, with their reason",
        "denials": "both layers are up; what was denied since the last run",
    },
    "watch": {
        "looked": "it looked by itself within 11 minutes",
        "cursor": "it has passed over no result",
        "found": "a denial made on purpose is found, by the watch's own unit",
        "told": "it is alerted once",
        "told_again": "it is not alerted again by the next look",
        "delivered": "its alert is taken from the stream and settled",
        "alerts": "alerts are delivered: the courier, each destination, the daily canary",
        "policy": "the policy is valid",
        "timer:quantum-exit-owner-watch.timer": "the watch's timer fires",
        "timer:exitbrain-proof.timer": "the proof's timer fires",
        "timer:quantum-policy-refresh.timer": "the policy's timer fires",
    },
    "host": {
        "redis_kept": "Redis keeps every write and evicts nothing",
        "redis_memory": "Redis has memory left",
        "redis_acl": "Redis lets in its users alone, each no further than it may",
        "clock": "the clock is within a second of the exchange's",
        "disk": "there is room where is written",
        "secrets": "secrets are root's alone",
        "kill_file": "the kill file is in form",
        "release": "every service runs the current release",
        "files": "each file of the release is the one that was installed",
        "config": "what runs is the configuration on disk, with nothing put over it",
        "sandbox": "every service runs in its sandbox",
    },
}


def checks() -> frozenset[str]:
    """All of them, as `proof.key`."""
    return frozenset(f"{proof}.{key}" for proof, keys in CATALOGUE.items() for key in keys)
