"""The mode of this moment: what the environment allows, less what a kill switch forbids."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from quantum_exit import kill_switch
from quantum_exit.brain.engine import Mode
from quantum_exit.exit_mode import KILL_SWITCH_VARIABLE, KILLED_LINE, LIVE_LINE, ExitMode
from quantum_exit.exit_mode import TradingState as State


@dataclass(frozen=True, slots=True)
class CurrentMode:
    """`why` is for people; empty in LIVE."""

    mode: Mode
    why: str
    configured: ExitMode
    can_sign: bool = True

    def of(self, symbol: str) -> Mode:
        if self.mode is not Mode.LIVE:
            return self.mode
        return Mode.LIVE if self.configured.state_of(symbol) is State.LIVE else Mode.SHADOW

    @property
    def log_line(self) -> str:
        if self.mode is Mode.KILLED:
            return KILLED_LINE
        return LIVE_LINE if self.mode is Mode.LIVE else f"[EXIT_MODE] SHADOW mode: {self.why}"


def current_mode(
    configured: ExitMode,
    runtime: bytes | None,
    kill_file: str,
    *,
    can_sign: bool = True,
    read_file: Callable[[str], kill_switch.SwitchState] = kill_switch.read_file,
) -> CurrentMode:
    """`runtime`: the value of `quantum:kill_switch` as just read."""
    switch = kill_switch.parse_runtime(runtime)
    file = read_file(kill_file)
    active = (
        (configured.kill_switch_active, f"{KILL_SWITCH_VARIABLE} is active"),
        (switch.active, f"quantum:kill_switch: {switch.why or 'on'}"),
        (file.active, f"kill file: {file.why}"),
    )
    why = "; ".join(text for on, text in active if on)
    if why:
        return CurrentMode(Mode.KILLED, why, configured, can_sign)
    if configured.state is State.LIVE:
        return CurrentMode(Mode.LIVE, "", configured)
    return CurrentMode(Mode.SHADOW, "; ".join(configured.why_shadow), configured)


def control_entry(before: str, after: CurrentMode, now_epoch: float) -> str:
    """A change of mode, for `quantum:ops:exitbrain:control`."""
    return json.dumps(
        {
            "event": "MODE_CHANGED",
            "by": "exitbrain",
            "reason": after.why,
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_epoch)),
            "epoch": now_epoch,
            "from": before,
            "to": after.mode.value,
        },
        ensure_ascii=False,
    )
