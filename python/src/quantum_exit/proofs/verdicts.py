"""How each proof last ended, for those who watch from outside: `keys.PROOF_VERDICTS`."""

from __future__ import annotations

import contextlib
import json

import redis

from quantum_exit import keys
from quantum_exit.proofs.model import Proof
from quantum_exit.values import format_epoch


def record(bus: redis.Redis, proof: Proof) -> None:
    """Never raises: what the proof found counts, not that it could be written down."""
    document = {
        "verdict": str(proof.verdict),
        "passed": proof.passed,
        "tests": len(proof.tests),
        "ts_epoch": format_epoch(proof.at_epoch),
    }
    with contextlib.suppress(redis.RedisError, OSError):
        bus.hset(keys.PROOF_VERDICTS, proof.name, json.dumps(document, separators=(",", ":")))
