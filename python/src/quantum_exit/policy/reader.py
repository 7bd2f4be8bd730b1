"""The published policy (`quantum:policy:current`) as its readers see it: valid, stale or unknown.

Pure. A stale policy still carries its parameters: nothing is opened with it, but
protective exits go on with them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from quantum_exit.values import InvalidNumberError, Unknown, parse_number

MAX_LEVERAGE: Final = 125
"""The exchange's own bound; a symbol's bracket may be lower."""


@dataclass(frozen=True, slots=True)
class PolicyView:
    """The policy's content."""

    universe: frozenset[str]
    """Symbols in which positions may be opened."""
    leverage_by_symbol: Mapping[str, int]
    harvest_params_json: str
    """As published; empty when the field is absent. The Exit Brain parses it."""
    kill_params_json: str
    """As published; empty when the field is absent."""
    valid_until_epoch: float
    version: str
    policy_hash: str


@dataclass(frozen=True, slots=True)
class ValidPolicy:
    view: PolicyView


@dataclass(frozen=True, slots=True)
class StalePolicy:
    """It was well-formed and has run out."""

    view: PolicyView
    expired_for_s: float


PolicyState = ValidPolicy | StalePolicy | Unknown


def read_policy(raw: Mapping[bytes, bytes], now_epoch: float) -> PolicyState:
    """The hash as Redis returns it; an empty map is a missing key."""
    try:
        fields = {name.decode(): value.decode() for name, value in raw.items()}
    except UnicodeDecodeError:
        return Unknown("malformed: not UTF-8")
    return parse_policy(fields, now_epoch)


def parse_policy(fields: Mapping[str, str], now_epoch: float) -> PolicyState:
    """Never raises. `Unknown.why` is `missing`, or `malformed: <field>`."""
    if not fields:
        return Unknown("missing")
    universe = _symbols(fields.get("universe_symbols", ""))
    if universe is None:
        return Unknown("malformed: universe_symbols")
    leverage = _leverage(fields.get("leverage_by_symbol", ""))
    if leverage is None:
        return Unknown("malformed: leverage_by_symbol")
    try:
        valid_until = float(parse_number(fields.get("valid_until_epoch", "")))
    except InvalidNumberError:
        return Unknown("malformed: valid_until_epoch")
    view = PolicyView(
        universe=universe,
        leverage_by_symbol=MappingProxyType(leverage),
        harvest_params_json=fields.get("harvest_params", ""),
        kill_params_json=fields.get("kill_params", ""),
        valid_until_epoch=valid_until,
        version=fields.get("policy_version", ""),
        policy_hash=fields.get("policy_hash", ""),
    )
    expired_for_s = now_epoch - valid_until
    return StalePolicy(view, expired_for_s) if expired_for_s >= 0 else ValidPolicy(view)


def _load(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _symbols(text: str) -> frozenset[str] | None:
    value = _load(text)
    if not isinstance(value, list):
        return None
    if not all(isinstance(symbol, str) and symbol for symbol in value):
        return None
    return frozenset(value)


def _leverage(text: str) -> dict[str, int] | None:
    value = _load(text)
    if not isinstance(value, dict):
        return None
    result: dict[str, int] = {}
    for symbol, leverage in value.items():
        # JSON writers of other languages put 5 as 5.0; a bool is an int in Python only.
        if isinstance(leverage, bool) or not isinstance(leverage, int | float):
            return None
        if leverage != leverage or not 1 <= leverage <= MAX_LEVERAGE or leverage != int(leverage):
            return None
        result[symbol] = int(leverage)
    return result
