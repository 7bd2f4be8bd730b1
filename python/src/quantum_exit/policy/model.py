"""The policy file: its schema, its validation against the exchange, and what is published. Pure.

    universe_symbols: [BTCUSDT, ETHUSDT]
    leverage_by_symbol: {BTCUSDT: 5, ETHUSDT: 3}
    harvest_params: {default: {stop_loss_pct: 2.0}}
    kill_params: {}
    valid_for: 2h
    version: "2026-11-01"

Only `universe_symbols` and `leverage_by_symbol` must be there. Errors name the path and the mend.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from quantum_exit.binance.model import SymbolRules
from quantum_exit.exits.params import InvalidParamsError, parse_harvest_params
from quantum_exit.policy.reader import MAX_LEVERAGE
from quantum_exit.values import format_epoch

DEFAULT_VALID_FOR_S: Final = 2 * 3600
MIN_VALID_FOR_S: Final = 3600
"""The refresh comes every half hour; one that fails must not make the policy stale."""
MAX_VALID_FOR_S: Final = 7 * 86_400
MAX_SYMBOLS: Final = 1000
PROTECTIVE_DEFAULT: Final = {"default": {"stop_loss_pct": "2"}}
"""Published when the file gives no `harvest_params`: a stop and nothing else."""

_FIELDS: Final = (
    *("universe_symbols", "leverage_by_symbol", "harvest_params"),
    *("kill_params", "valid_for", "version"),
)
_SYMBOL: Final = re.compile(r"[A-Z0-9_\u4e00-\u9fff]{1,40}")
_VERSION: Final = re.compile(r"[A-Za-z0-9_.:+-]{1,64}", re.ASCII)
_DURATION: Final = re.compile(r"(\d{1,7})\s*([smhd]?)", re.ASCII)
_UNIT_S: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_MAX_DEPTH: Final = 8


class InvalidPolicyError(ValueError):
    """What is wrong with the policy, all of it; each line begins with a path."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy that is well-formed. Whether the exchange agrees is `check_against`."""

    universe: tuple[str, ...]
    leverage_by_symbol: Mapping[str, int]
    harvest_params_json: str
    kill_params_json: str
    valid_for_s: int
    version: str
    policy_hash: str

    def published(self, now_epoch: float) -> dict[str, str]:
        """The hash `quantum:policy:current`."""
        return {
            "universe_symbols": _dump(list(self.universe)),
            "leverage_by_symbol": _dump(dict(self.leverage_by_symbol)),
            "harvest_params": self.harvest_params_json,
            "kill_params": self.kill_params_json,
            "valid_until_epoch": format_epoch(now_epoch + self.valid_for_s),
            "policy_version": self.version,
            "policy_hash": self.policy_hash,
        }


def parse_policy_document(document: object) -> Policy:
    """The parsed YAML. Raises InvalidPolicyError with every problem found."""
    if not isinstance(document, dict):
        raise InvalidPolicyError(["policy: not a mapping of names to values"])
    problems: list[str] = []
    for name in document:
        if name not in _FIELDS:
            problems.append(f"{_shown(name)}: unknown field{_nearest(str(name), _FIELDS)}")
    universe = _universe(document.get("universe_symbols"), problems)
    leverage = _leverage(document.get("leverage_by_symbol"), universe, problems)
    harvest = _harvest(document.get("harvest_params"), problems)
    kill = _kill(document.get("kill_params"), problems)
    valid_for_s = _valid_for(document.get("valid_for"), problems)
    version = _version(document.get("version"), problems)
    if problems:
        raise InvalidPolicyError(problems)
    content = _dump([list(universe), leverage, json.loads(harvest), json.loads(kill)])
    digest = hashlib.sha256(content.encode()).hexdigest()
    return Policy(universe, leverage, harvest, kill, valid_for_s, version or digest[:12], digest)


def check_against(
    policy: Policy, rules: Mapping[str, SymbolRules], max_leverages: Mapping[str, int] | None
) -> None:
    """Raises InvalidPolicyError for symbols that do not trade or leverages above the brackets.

    `max_leverages` None: the brackets could not be read (they need a key).
    """
    problems: list[str] = []
    for at, symbol in enumerate(policy.universe):
        path = f"universe_symbols[{at}]: {symbol}"
        if symbol not in rules:
            problems.append(f"{path} is not listed on the exchange{_nearest(symbol, rules)}")
        elif not rules[symbol].trading:
            problems.append(f"{path} does not trade (status {rules[symbol].status}): take it out")
        highest = (max_leverages or {}).get(symbol)
        leverage = policy.leverage_by_symbol[symbol]
        if highest is not None and leverage > highest:
            problems.append(
                f"leverage_by_symbol.{symbol}: {leverage} is above the exchange's {highest}"
            )
    if problems:
        raise InvalidPolicyError(problems)


def _universe(value: object, problems: list[str]) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        problems.append("universe_symbols: missing or empty: list the symbols that may be opened")
        return ()
    if len(value) > MAX_SYMBOLS:
        problems.append(f"universe_symbols: {len(value)} symbols, at most {MAX_SYMBOLS}")
        return ()
    for at, symbol in enumerate(value):
        if not isinstance(symbol, str) or not _SYMBOL.fullmatch(symbol):
            problems.append(
                f"universe_symbols[{at}]: {_shown(symbol)} is not a symbol: write it as BTCUSDT"
                ", in quotes if it is all digits"
            )
        elif symbol in value[:at]:
            problems.append(f"universe_symbols[{at}]: {symbol} stands there twice")
    return tuple(sorted(symbol for symbol in value if isinstance(symbol, str)))


def _leverage(value: object, universe: tuple[str, ...], problems: list[str]) -> dict[str, int]:
    if not isinstance(value, dict):
        problems.append("leverage_by_symbol: missing: give each symbol its leverage")
        return {}
    result: dict[str, int] = {}
    for symbol, leverage in value.items():
        path = f"leverage_by_symbol.{_shown(symbol)}"
        if symbol not in universe:
            problems.append(f"{path}: not in universe_symbols{_nearest(str(symbol), universe)}")
        elif isinstance(leverage, bool) or not isinstance(leverage, int):
            problems.append(f"{path}: {_shown(leverage)} is not a whole number")
        elif not 1 <= leverage <= MAX_LEVERAGE:
            problems.append(f"{path}: {leverage} is not within 1..{MAX_LEVERAGE}")
        else:
            result[symbol] = leverage
    problems += [
        f"leverage_by_symbol.{symbol}: missing" for symbol in universe if symbol not in value
    ]
    return dict(sorted(result.items()))


def _harvest(value: object, problems: list[str]) -> str:
    text = _json_of(value or PROTECTIVE_DEFAULT, "harvest_params", problems)
    if text:
        try:
            parse_harvest_params(text)
        except InvalidParamsError as error:
            problems.append(f"harvest_params.{error}".replace("params.harvest_params", "params"))
    return text


def _kill(value: object, problems: list[str]) -> str:
    """Names to numbers, words or lists of them; what they mean is their reader's matter."""
    if value is not None and not isinstance(value, dict):
        problems.append("kill_params: not a mapping of names to values")
        return ""
    return _json_of(value or {}, "kill_params", problems)


def _json_of(value: object, path: str, problems: list[str]) -> str:
    problem = _not_json(value, path, _MAX_DEPTH)
    if problem:
        problems.append(problem)
        return ""
    return _dump(value)


def _not_json(value: object, path: str, depth: int) -> str:
    """What YAML can say and JSON cannot, or not safely: dates, names that are no text, NaN."""
    if depth == 0:
        return f"{path}: nested too deeply"
    if isinstance(value, dict):
        for name, inner in value.items():
            if not isinstance(name, str):
                return f"{path}.{_shown(name)}: the name is not text: put it in quotes"
            if problem := _not_json(inner, f"{path}.{name[:40]}", depth - 1):
                return problem
        return ""
    if isinstance(value, list):
        found = (_not_json(inner, f"{path}[{at}]", depth - 1) for at, inner in enumerate(value))
        return next(filter(None, found), "")
    if isinstance(value, float) and not math.isfinite(value):
        return f"{path}: not a finite number"
    if value is None or isinstance(value, str | int | float | bool):
        return ""
    return f"{path}: a {type(value).__name__} cannot be published: put it in quotes"


def _valid_for(value: object, problems: list[str]) -> int:
    if value is None:
        return DEFAULT_VALID_FOR_S
    match = None if isinstance(value, bool) else _DURATION.fullmatch(str(value).strip())
    if match is None:
        problems.append(f"valid_for: {_shown(value)} is not a duration: write it as 90m, 2h or 1d")
        return 0
    seconds = int(match[1]) * _UNIT_S[match[2]]
    if not MIN_VALID_FOR_S <= seconds <= MAX_VALID_FOR_S:
        problems.append(
            f"valid_for: {_shown(value)} is not within 1h..7d (it is refreshed every half hour)"
        )
    return seconds


def _version(value: object, problems: list[str]) -> str:
    if value is None:
        return ""
    text = str(value)
    if isinstance(value, bool | dict | list) or not _VERSION.fullmatch(text):
        problems.append(f"version: {_shown(value)}: at most 64 letters, digits and ._:+-")
    return text


def _nearest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.7)
    return f": did you mean {close[0]}?" if close else ""


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return "".join(c if c.isprintable() else "�" for c in text[:40])


def _dump(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
