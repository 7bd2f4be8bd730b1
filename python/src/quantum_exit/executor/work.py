"""A plan on its way through the executor, and the registry of those on their way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from quantum_exit.executor.grant import OpenGrant
from quantum_exit.executor.store import Entry
from quantum_exit.gates.model import Claim, Observed, Order
from quantum_exit.gates.permit import Permit

Report = Callable[[str], None]


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

    @property
    def symbol(self) -> str:
        return self.claim.plan.symbol


class InFlight:
    """Which plans and entries this process is working on. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entry_of: dict[str, Entry] = {}
        self._entries: set[tuple[str, str]] = set()

    def admit(self, identity: str, entry: Entry) -> bool:
        """False when the same plan is already on its way, under this or another entry."""
        with self._lock:
            if identity in self._entry_of:
                return False
            self._entry_of[identity] = entry
            self._entries.add((entry.stream, entry.entry_id))
            return True

    def entry_of(self, identity: str) -> Entry | None:
        with self._lock:
            return self._entry_of.get(identity)

    def holds(self, stream: str, entry_id: str) -> bool:
        with self._lock:
            return (stream, entry_id) in self._entries

    def release(self, *identities: str) -> None:
        with self._lock:
            for identity in identities:
                entry = self._entry_of.pop(identity, None)
                if entry is not None:
                    self._entries.discard((entry.stream, entry.entry_id))

    def __len__(self) -> int:
        return len(self._entry_of)
