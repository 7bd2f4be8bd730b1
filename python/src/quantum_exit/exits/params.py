"""The parameters of the exit rules, as the policy's `harvest_params` gives them.

    {"default": {"stop_loss_pct": "2.0", "stop_loss_atr_multiple": null, "atr_period": 14,
                 "take_profits": [{"pct": "3.0", "fraction": "0.5"}],
                 "break_even_at_pct": "1.5", "trailing_start_pct": "2.0",
                 "trailing_distance_pct": "1.0", "max_hold_s": null,
                 "exchange_stop_margin_pct": "1.0"},
     "symbols": {"BTCUSDT": {"stop_loss_pct": "1.2"}}}

Only `default` and its `stop_loss_pct` must be there; null or absent switches a rule off.
A symbol's object replaces single fields of the default. Numbers are JSON numbers or
strings of digits; percentages are of the entry price, except the trailing distance,
which is of the best price seen.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Final, NoReturn

from quantum_exit.values import InvalidNumberError, format_number, parse_number

_SYMBOL: Final = re.compile(r"[A-Z0-9_\u4e00-\u9fff]{1,40}")
_MAX_LEVELS: Final = 20
_DEFAULT_ATR_PERIOD: Final = 14
_MAX_ATR_PERIOD: Final = 500
_MAX_MULTIPLE: Final = Decimal(100)
_MAX_PROFIT_PCT: Final = Decimal(10_000)
_MAX_HOLD_S: Final = Decimal(10 * 365 * 86_400)
_HUNDRED: Final = Decimal(100)


class InvalidParamsError(ValueError):
    """`harvest_params` is wrong. The text begins with the path of what is wrong."""


@dataclass(frozen=True, slots=True)
class TakeProfit:
    """Close `fraction` (0 < f <= 1) of the position's largest size at `pct` profit."""

    pct: Decimal
    fraction: Decimal


@dataclass(frozen=True, slots=True)
class ExitParams:
    """The rules of one symbol. None means the rule is off."""

    stop_loss_pct: Decimal
    """0 < pct < 100. Always there: it is also the widest an ATR stop may be."""
    stop_loss_atr_multiple: Decimal | None = None
    """The stop lies this many average true ranges from the entry, once the ATR is known."""
    atr_period: int = _DEFAULT_ATR_PERIOD
    """Closed one-minute klines that the ATR is taken over."""
    take_profits: tuple[TakeProfit, ...] = ()
    """Rising in `pct`; the fractions sum to 1 at most."""
    break_even_at_pct: Decimal | None = None
    trailing_start_pct: Decimal | None = None
    trailing_distance_pct: Decimal | None = None
    max_hold_s: Decimal | None = None
    exchange_stop_margin_pct: Decimal = Decimal(1)
    """How much further than the rules' own stop the one on the exchange lies."""


PROTECTIVE_ONLY: Final = ExitParams(stop_loss_pct=Decimal(2))
"""What holds where no valid policy was ever seen: a stop, and nothing else."""


@dataclass(frozen=True, slots=True)
class HarvestParams:
    default: ExitParams
    symbols: Mapping[str, ExitParams]

    def for_symbol(self, symbol: str) -> ExitParams:
        return self.symbols.get(symbol, self.default)


BUILT_IN: Final = HarvestParams(default=PROTECTIVE_ONLY, symbols={})


def parse_harvest_params(json_text: str) -> HarvestParams:
    """Raises InvalidParamsError with the path of what is wrong: `symbols.BTCUSDT.atr_period: …`."""
    try:
        document = json.loads(
            json_text, parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_object
        )
    except (ValueError, RecursionError) as error:
        raise InvalidParamsError(f"harvest_params: not JSON: {error}") from None
    top = _as_object(document, "harvest_params")
    _only_known(top, ("default", "symbols"), "")
    if "default" not in top:
        _fail("default", "missing: the rules for every symbol without its own")
    default_fields = _as_object(top["default"], "default")
    default = _params(default_fields, "default")
    symbols: dict[str, ExitParams] = {}
    for symbol, value in _as_object(top.get("symbols", {}), "symbols").items():
        path = f"symbols.{symbol[:40]}"
        if not _SYMBOL.fullmatch(symbol):
            _fail(path, "not a symbol")
        own = _as_object(value, path)
        _only_known(own, _NAMES, path)
        symbols[symbol] = _params({**default_fields, **own}, path)
    return HarvestParams(default=default, symbols=symbols)


_NAMES: Final = tuple(field.name for field in fields(ExitParams))


def _params(given: Mapping[str, object], path: str) -> ExitParams:
    _only_known(given, _NAMES, path)
    stop_loss = _number(given, "stop_loss_pct", path, below=_HUNDRED)
    if stop_loss is None:
        _fail(f"{path}.stop_loss_pct", "missing: every position has a stop")
    start = _number(given, "trailing_start_pct", path, below=_MAX_PROFIT_PCT)
    distance = _number(given, "trailing_distance_pct", path, below=_HUNDRED)
    if (start is None) != (distance is None):
        missing = "trailing_start_pct" if start is None else "trailing_distance_pct"
        _fail(f"{path}.{missing}", "trailing_start_pct and trailing_distance_pct go together")
    margin = _number(given, "exchange_stop_margin_pct", path, below=_HUNDRED)
    return ExitParams(
        stop_loss_pct=stop_loss,
        stop_loss_atr_multiple=_number(given, "stop_loss_atr_multiple", path, below=_MAX_MULTIPLE),
        atr_period=_period(given, path),
        take_profits=_take_profits(given.get("take_profits"), f"{path}.take_profits"),
        break_even_at_pct=_number(given, "break_even_at_pct", path, below=_MAX_PROFIT_PCT),
        trailing_start_pct=start,
        trailing_distance_pct=distance,
        max_hold_s=_number(given, "max_hold_s", path, below=_MAX_HOLD_S),
        exchange_stop_margin_pct=Decimal(1) if margin is None else margin,
    )


def _take_profits(value: object, path: str) -> tuple[TakeProfit, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        _fail(path, "must be a list of {pct, fraction}")
    if len(value) > _MAX_LEVELS:
        _fail(path, f"more than {_MAX_LEVELS} levels")
    levels: list[TakeProfit] = []
    for index, item in enumerate(value):
        where = f"{path}[{index}]"
        level = _as_object(item, where)
        _only_known(level, ("pct", "fraction"), where)
        pct = _number(level, "pct", where, below=_MAX_PROFIT_PCT)
        fraction = _number(level, "fraction", where, below=Decimal(2))
        if pct is None or fraction is None:
            _fail(f"{where}.{'pct' if pct is None else 'fraction'}", "missing")
        if levels and pct <= levels[-1].pct:
            _fail(f"{where}.pct", "must be greater than the level before it")
        levels.append(TakeProfit(pct, fraction))
        total = sum((level.fraction for level in levels), Decimal(0))
        if total > 1:
            _fail(f"{where}.fraction", f"the fractions sum to {format_number(total)}, over 1")
    return tuple(levels)


def _period(given: Mapping[str, object], path: str) -> int:
    value = _number(given, "atr_period", path, below=Decimal(_MAX_ATR_PERIOD + 1))
    if value is None:
        return _DEFAULT_ATR_PERIOD
    if value != value.to_integral_value() or value < 2:
        _fail(f"{path}.atr_period", f"must be a whole number from 2 to {_MAX_ATR_PERIOD}")
    return int(value)


def _number(given: Mapping[str, object], name: str, path: str, *, below: Decimal) -> Decimal | None:
    """A number in (0, below), or None where it is null or absent."""
    value = given.get(name)
    if value is None:
        return None
    where = f"{path}.{name}"
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        _fail(where, "must be a number")
    try:
        number = parse_number(value) if isinstance(value, str) else Decimal(value)
        # Through the wire's own format, so that a JSON number is no wider than a string.
        number = parse_number(format(number, "f"))
    except InvalidNumberError as error:
        _fail(where, str(error))
    if not 0 < number < below:
        _fail(where, f"must be greater than 0 and less than {format_number(below)}")
    return number


def _only_known(given: Mapping[str, object], known: tuple[str, ...], path: str) -> None:
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"
            _fail(f"{path}.{name[:40]}".lstrip("."), f"unknown{hint}")


def _as_object(value: object, path: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        _fail(path, "must be a JSON object")
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name is given twice")
    return result


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _fail(path: str, what: str) -> NoReturn:
    raise InvalidParamsError(f"{path}: {what}")
