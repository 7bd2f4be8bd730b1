"""A plan on its way through the executor, and the registry of those on their way."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from quantum_exit.executor.grant import OpenGrant
from quantum_exit.executor.store import Entry
from quantum_exit.gates.model import Claim, Observed, Order
from quantum_exit.gates.permit import Permit

Report = Callable[[str], None]
_STILL_ASKED: Final = ("qty", "action")
"""What is asked of a waiting plan as it was written."""


@dataclass(slots=True)
class Work:
    """Owned by one thread at a time; handed on, never shared."""

    claim: Claim
    entry: Entry
    order: Order
    seen: Observed | None = None
    """The world in which `order` was judged; None when that was in another life."""
    seen_mono: float = float("-inf")
    permit: Permit | None = None
    grant: OpenGrant | None = None
    """The open grant, once there is one."""
    look_first: bool = False
    """It may have been sent in a life that Redis has forgotten: ask the exchange before."""
    refusals: int = 0
    """How often the exchange shed it under load."""
    waited_for_exchange: bool = False
    """It is an exit that found the exchange silent or not ready, and has not been sent since."""

    @property
    def symbol(self) -> str:
        return self.claim.plan.symbol


def slim(claim: Claim) -> Claim:
    """What a plan needs once its signatures have been verified: what they are over may be ten
    times as large, and thousands of plans may wait."""
    plan, intent = claim.plan, claim.intent
    wire = {name: plan.wire[name] for name in _STILL_ASKED if name in plan.wire}
    if intent is not None:
        intent = replace(intent, wire={})
    return replace(claim, plan=replace(plan, wire=wire, reason=""), intent=intent)


class InFlight:
    """Which plans and entries this process is working on. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entry_of: dict[str, Entry] = {}
        self._entry_ids: defaultdict[str, set[str]] = defaultdict(set)

    def admit(self, identity: str, entry: Entry) -> bool:
        """False when the same plan is already on its way, under this or another entry."""
        with self._lock:
            if identity in self._entry_of:
                return False
            self._entry_of[identity] = entry
            self._entry_ids[entry.stream].add(entry.entry_id)
            return True

    def holds(self, stream: str, entry_id: str) -> bool:
        with self._lock:
            return entry_id in self._entry_ids[stream]

    def release(self, *identities: str) -> None:
        with self._lock:
            for identity in identities:
                entry = self._entry_of.pop(identity, None)
                if entry is not None:
                    self._entry_ids[entry.stream].discard(entry.entry_id)

    def __len__(self) -> int:
        return len(self._entry_of)
