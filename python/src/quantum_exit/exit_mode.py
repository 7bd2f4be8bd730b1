"""Who may exit, and whether for real: the modes of the Exit Brain and the env kill switch.

Permission is positive. LIVE needs every condition spelt right; anything missing or
misspelt is SHADOW. The env kill switch is off only for a handful of words; everything
else, the empty string too, is ACTIVE.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Final

KILL_SWITCH_VARIABLE: Final = "EXIT_EXECUTOR_KILL_SWITCH"
OFF_WORDS: Final = frozenset({"false", "0", "no", "off", "disabled"})

LIVE_LINE: Final = "[EXIT_MODE] 🔴 EXIT BRAIN V3 LIVE MODE ACTIVE 🔴"
KILLED_LINE: Final = (
    "[EXIT_MODE] 🔴 KILL-SWITCH ACTIVE 🔴 Exit Brain forced to SHADOW mode. "
    "No orders will be placed."
)
_ROLLOUT_BUCKETS: Final = 10_000


class TradingState(StrEnum):
    LIVE = "LIVE"
    SHADOW = "SHADOW"


def env_kill_active(environ: Mapping[str, str]) -> bool:
    """Unset is off; so are the off-words. Everything else is ACTIVE."""
    value = environ.get(KILL_SWITCH_VARIABLE)
    return value is not None and value.strip().lower() not in OFF_WORDS


def rollout_bucket(symbol: str) -> Decimal:
    """A symbol's place in [0, 100), the same in every process and on every host."""
    digest = hashlib.sha256(symbol.strip().upper().encode()).digest()
    return Decimal(int.from_bytes(digest[:8]) % _ROLLOUT_BUCKETS) / (_ROLLOUT_BUCKETS // 100)


def _word(environ: Mapping[str, str], name: str, default: str) -> str:
    return environ.get(name, default).strip().upper()


def _rollout_pct(environ: Mapping[str, str]) -> Decimal:
    """Unset: 100. Not a number within 0..100: 0, which is nobody."""
    text = environ.get("EXIT_LIVE_ROLLOUT_PCT")
    if text is None:
        return Decimal(100)
    try:
        pct = Decimal(text.strip())
    except InvalidOperation:
        return Decimal(0)
    return pct if pct.is_finite() and 0 <= pct <= 100 else Decimal(0)


@dataclass(frozen=True, slots=True)
class ExitMode:
    """The Exit Brain's configuration of mode, as read from its environment."""

    enabled: bool
    owner_mode: str
    executor_mode: str
    rollout: str
    rollout_pct: Decimal
    kill_switch_active: bool

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> ExitMode:
        return cls(
            enabled=_word(environ, "EXIT_BRAIN_V35_ENABLED", "false") == "TRUE",
            owner_mode=_word(environ, "EXIT_MODE", "LEGACY"),
            executor_mode=_word(environ, "EXIT_EXECUTOR_MODE", "SHADOW"),
            rollout=_word(environ, "EXIT_BRAIN_V3_LIVE_ROLLOUT", "DISABLED"),
            rollout_pct=_rollout_pct(environ),
            kill_switch_active=env_kill_active(environ),
        )

    @property
    def why_shadow(self) -> tuple[str, ...]:
        """What stands against LIVE, by the variable's name; empty when nothing does."""
        checks = (
            (not self.kill_switch_active, f"{KILL_SWITCH_VARIABLE} is active"),
            (self.enabled, "EXIT_BRAIN_V35_ENABLED is not true"),
            (self.owner_mode == "EXIT_BRAIN_V3", "EXIT_MODE is not EXIT_BRAIN_V3"),
            (self.executor_mode == "LIVE", "EXIT_EXECUTOR_MODE is not LIVE"),
            (self.rollout == "ENABLED", "EXIT_BRAIN_V3_LIVE_ROLLOUT is not ENABLED"),
        )
        return tuple(text for passed, text in checks if not passed)

    @property
    def state(self) -> TradingState:
        return TradingState.SHADOW if self.why_shadow else TradingState.LIVE

    def state_of(self, symbol: str) -> TradingState:
        """LIVE only inside the rollout."""
        inside = rollout_bucket(symbol) < self.rollout_pct
        return TradingState.LIVE if inside and not self.why_shadow else TradingState.SHADOW

    def start_lines(self) -> tuple[str, ...]:
        """The lines operators grep for after a restart."""
        kill = "ACTIVE" if self.kill_switch_active else "OFF"
        first = (
            "[EXIT_MODE] Configuration loaded: "
            f"EXIT_BRAIN_V35_ENABLED={str(self.enabled).lower()}, "
            f"EXIT_MODE={self.owner_mode}, EXIT_EXECUTOR_MODE={self.executor_mode}, "
            f"EXIT_BRAIN_V3_LIVE_ROLLOUT={self.rollout}, "
            f"EXIT_LIVE_ROLLOUT_PCT={self.rollout_pct}, KILL_SWITCH={kill}"
        )
        if self.kill_switch_active:
            return first, KILLED_LINE
        if self.state is TradingState.LIVE:
            return first, LIVE_LINE
        return first, f"[EXIT_MODE] SHADOW mode: {'; '.join(self.why_shadow)}"
