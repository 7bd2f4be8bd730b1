"""The symbols on offer: a small set of our own, generated ones for load, or a recorded file."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from .domain.brackets import Bracket, brackets_from_json, default_brackets
from .domain.symbols import SymbolRules
from .exchange import Market

_PERPETUAL_DELIVERY_MS = 4_133_404_800_000
_ONBOARD_MS = 1_569_398_400_000
_ORDER_TYPES = [
    "LIMIT",
    "MARKET",
    "STOP",
    "STOP_MARKET",
    "TAKE_PROFIT",
    "TAKE_PROFIT_MARKET",
    "TRAILING_STOP_MARKET",
]
_MAJORS = {
    # symbol: first price, tick, step, most in a market order, minimum notional
    "BTCUSDT": ("60000.00", "0.10", "0.001", "120", "100"),
    "ETHUSDT": ("3000.00", "0.01", "0.001", "2000", "20"),
    "SOLUSDT": ("150.0000", "0.0100", "1", "80000", "5"),
    "AVAXUSDT": ("30.0000", "0.0010", "1", "50000", "5"),
}
_GUESSED_PRICES = {
    symbol: Decimal(price)
    for symbol, price in (
        *((name, row[0]) for name, row in _MAJORS.items()),
        ("BNBUSDT", "600"),
        ("XRPUSDT", "0.6"),
        ("DOGEUSDT", "0.12"),
        ("ADAUSDT", "0.4"),
        ("LTCUSDT", "80"),
        ("LINKUSDT", "14"),
        ("BTCUSDC", "60000"),
        ("ETHUSDC", "3000"),
    )
}
_STEPS = ("0.001", "0.01", "0.1", "1")


class UnreadableFile(Exception):
    """A file given by the operator cannot be used; the message names it and says why."""


def synthetic_info(generated: int, seed: int) -> dict[str, Any]:
    """An `exchangeInfo` document with the majors and `generated` further symbols."""
    symbols = [_entry(name, *row) for name, row in _MAJORS.items()]
    chance = random.Random(seed)  # noqa: S311 prices of made-up symbols, no secrets
    for number in range(1, generated + 1):
        price_places = chance.choice((2, 3, 4, 5))
        price = Decimal(chance.randint(50, 20_000)).scaleb(-2)
        tick = str(Decimal(1).scaleb(-price_places))
        step = chance.choice(_STEPS)
        symbols.append(
            _entry(f"Q{number:03d}USDT", f"{price:.{price_places}f}", tick, step, "1000000", "5")
        )
    return {
        "timezone": "UTC",
        "futuresType": "U_MARGINED",
        "exchangeFilters": [],
        "assets": [
            {"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"},
            {"asset": "BTC", "marginAvailable": True, "autoAssetExchange": "-0.10000000"},
            {"asset": "BNB", "marginAvailable": True, "autoAssetExchange": "-10"},
            {"asset": "USDC", "marginAvailable": True, "autoAssetExchange": "-10000"},
        ],
        "symbols": symbols,
    }


def _places(step: str) -> int:
    return len(step.partition(".")[2])


def _entry(
    symbol: str, price: str, tick: str, step: str, market_max: str, notional: str
) -> dict[str, Any]:
    first = Decimal(price)
    lowest = (first / 100 // Decimal(tick) + 1) * Decimal(tick)
    highest = first * 100
    lot_max = str(Decimal(market_max) * 8)
    filters = [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": str(lowest),
            "maxPrice": str(highest),
            "tickSize": tick,
        },
        {"stepSize": step, "maxQty": lot_max, "minQty": step, "filterType": "LOT_SIZE"},
        {"filterType": "MARKET_LOT_SIZE", "stepSize": step, "maxQty": market_max, "minQty": step},
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        {"notional": notional, "filterType": "MIN_NOTIONAL"},
        {
            "filterType": "PERCENT_PRICE",
            "multiplierDecimal": "4",
            "multiplierUp": "1.1500",
            "multiplierDown": "0.8500",
        },
    ]
    return {
        "symbol": symbol,
        "pair": symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": _PERPETUAL_DELIVERY_MS,
        "onboardDate": _ONBOARD_MS,
        "status": "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": symbol.removesuffix("USDT"),
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": _places(price),
        "quantityPrecision": _places(step),
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10000,
        "filters": filters,
        "orderTypes": list(_ORDER_TYPES),
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
    }


def _read_json(path: Path) -> Any:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError, EOFError) as error:
        raise UnreadableFile(f"{path}: {error}") from error


def read_info(path: Path) -> dict[str, Any]:
    """A recorded `exchangeInfo` document, plain or gzip. Symbols no order could use are left out.

    Raises UnreadableFile.
    """
    info = _read_json(path)
    if not isinstance(info, dict) or not isinstance(info.get("symbols"), list):
        raise UnreadableFile(f"{path}: not an exchangeInfo document: it has no list 'symbols'")
    usable = []
    for entry in info["symbols"]:
        try:
            SymbolRules.from_exchange_info(entry)
        except (KeyError, TypeError, InvalidOperation) as error:
            name = entry.get("symbol", "?") if isinstance(entry, dict) else "?"
            raise UnreadableFile(f"{path}: symbol {name}: missing or unusable {error}") from error
        if entry["contractType"] == "PERPETUAL":
            usable.append(entry)
    return {**info, "symbols": usable}


def read_prices(path: Path) -> dict[str, Decimal]:
    """First mark prices: a JSON object of symbol to price. Raises UnreadableFile."""
    content = _read_json(path)
    if not isinstance(content, dict):
        raise UnreadableFile(f"{path}: not a JSON object of symbol to price")
    prices = {}
    for symbol, text in content.items():
        try:
            price = Decimal(str(text))
        except InvalidOperation as error:
            raise UnreadableFile(f"{path}: {symbol}: {text!r} is not a price") from error
        if not price.is_finite() or price <= 0:
            raise UnreadableFile(f"{path}: {symbol}: {text!r} is not a price above zero")
        prices[symbol] = price
    return prices


def read_brackets(path: Path) -> dict[str, tuple[Bracket, ...]]:
    """Leverage brackets: symbol to list, or the endpoint's own list. Raises UnreadableFile."""
    content = _read_json(path)
    if isinstance(content, list):
        content = {entry["symbol"]: entry["brackets"] for entry in content}
    try:
        return {symbol: brackets_from_json(entries) for symbol, entries in content.items()}
    except (KeyError, TypeError, ValueError, AttributeError, InvalidOperation) as error:
        raise UnreadableFile(f"{path}: not leverage brackets: {error!r}") from error


def make_market(
    info: Mapping[str, Any],
    prices: Mapping[str, Decimal],
    brackets: Mapping[str, Sequence[Bracket]],
) -> Market:
    """Fills in a first price and brackets for every symbol that was given none."""
    symbols = [SymbolRules.from_exchange_info(entry) for entry in info["symbols"]]
    return Market(
        info=info,
        brackets={
            s.symbol: tuple(brackets.get(s.symbol) or default_brackets(s.symbol)) for s in symbols
        },
        prices={s.symbol: prices.get(s.symbol) or _first_price(s) for s in symbols},
    )


def _first_price(rules: SymbolRules) -> Decimal:
    """Known symbols near the market, generated ones where their filters were made from."""
    known = _GUESSED_PRICES.get(rules.symbol)
    guess = known or rules.max_price / 100
    return max((guess // rules.tick) * rules.tick, rules.min_price)
