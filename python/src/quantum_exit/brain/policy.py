"""Which exit parameters hold now: the policy's, the last valid ones, or the built-in stop.

Exits never stop for want of a policy. Without a valid one the last valid parameters go on,
and that is said.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from quantum_exit.exits.params import (
    BUILT_IN,
    HarvestParams,
    InvalidParamsError,
    parse_harvest_params,
)
from quantum_exit.policy.reader import StalePolicy, read_policy
from quantum_exit.values import Unknown


@dataclass(frozen=True, slots=True)
class ParamsInUse:
    params: HarvestParams
    json_text: str
    """As published, to be kept for the time when the policy is gone; empty: built-in."""
    trouble: str
    """Why these are not a valid policy's parameters; empty when they are."""


class ParamsSource:
    """Reads the policy each cycle; parses it only when its text has changed."""

    def __init__(self, last_valid_json: str = "") -> None:
        self._last = ParamsInUse(BUILT_IN, "", "")
        if last_valid_json:
            # What an older release kept and this one cannot read is as if there had been none.
            with contextlib.suppress(InvalidParamsError):
                self._last = ParamsInUse(parse_harvest_params(last_valid_json), last_valid_json, "")
        self._refused: tuple[str, str] = ("", "")

    def now(self, policy: Mapping[bytes, bytes], now_epoch: float) -> ParamsInUse:
        state = read_policy(policy, now_epoch)
        if isinstance(state, Unknown):
            return self._fallback(f"policy {state.why}")
        text = state.view.harvest_params_json
        if text != self._last.json_text:
            problem = self._try(text)
            if problem:
                return self._fallback(f"policy: {problem}")
        if isinstance(state, StalePolicy):
            return self._fallback(f"policy stale for {state.expired_for_s:.0f} s")
        return self._last

    def _try(self, text: str) -> str:
        """Takes the parameters over, or says what is wrong with them."""
        if text == self._refused[0]:
            return self._refused[1]
        try:
            self._last = ParamsInUse(parse_harvest_params(text), text, "")
        except InvalidParamsError as error:
            self._refused = (text, str(error))
            return str(error)
        return ""

    def _fallback(self, why: str) -> ParamsInUse:
        used = "the last valid parameters" if self._last.json_text else "the built-in stop"
        return ParamsInUse(self._last.params, self._last.json_text, f"{why}: {used} hold")
