"""Trading rules of one symbol, read from an `exchangeInfo` entry, and their checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from . import refusals
from .refusals import Refused
from .values import Side


@dataclass(frozen=True, slots=True)
class LotSize:
    min_qty: Decimal
    max_qty: Decimal
    step: Decimal


@dataclass(frozen=True, slots=True)
class SymbolRules:
    """Quantities in the base asset, prices and notionals in the quote asset."""

    symbol: str
    status: str
    quote_asset: str
    margin_asset: str
    price_precision: int
    quantity_precision: int
    tick: Decimal
    min_price: Decimal
    max_price: Decimal
    lot: LotSize
    market_lot: LotSize
    min_notional: Decimal
    multiplier_up: Decimal
    multiplier_down: Decimal
    max_orders: int
    liquidation_fee: Decimal

    @classmethod
    def from_exchange_info(cls, entry: Mapping[str, Any]) -> SymbolRules:
        """Raises KeyError (naming the field) when `entry` lacks a filter that orders need."""
        filters = {f["filterType"]: f for f in entry["filters"]}
        price = filters["PRICE_FILTER"]
        percent = filters["PERCENT_PRICE"]
        return cls(
            symbol=entry["symbol"],
            status=entry["status"],
            quote_asset=entry["quoteAsset"],
            margin_asset=entry["marginAsset"],
            price_precision=int(entry["pricePrecision"]),
            quantity_precision=int(entry["quantityPrecision"]),
            tick=Decimal(price["tickSize"]),
            min_price=Decimal(price["minPrice"]),
            max_price=Decimal(price["maxPrice"]),
            lot=_lot(filters["LOT_SIZE"]),
            market_lot=_lot(filters["MARKET_LOT_SIZE"]),
            min_notional=Decimal(filters["MIN_NOTIONAL"]["notional"]),
            multiplier_up=Decimal(percent["multiplierUp"]),
            multiplier_down=Decimal(percent["multiplierDown"]),
            max_orders=int(filters["MAX_NUM_ORDERS"]["limit"]),
            liquidation_fee=Decimal(entry.get("liquidationFee", "0")),
        )


def _lot(entry: Mapping[str, Any]) -> LotSize:
    return LotSize(
        min_qty=Decimal(entry["minQty"]),
        max_qty=Decimal(entry["maxQty"]),
        step=Decimal(entry["stepSize"]),
    )


def check_quantity(rules: SymbolRules, quantity: Decimal, *, market: bool) -> None:
    """A market order obeys both lot filters. Raises Refused."""
    lots = (rules.lot, rules.market_lot) if market else (rules.lot,)
    if quantity <= 0:
        raise Refused(-4003, "Quantity less than or equal to zero.")
    if _decimals(quantity) > rules.quantity_precision:
        raise refusals.precision()
    if any(quantity < lot.min_qty for lot in lots):
        raise Refused(-4004, "Quantity less than min quantity.")
    if any(quantity > lot.max_qty for lot in lots):
        raise Refused(-4005, "Quantity greater than max quantity.")
    if any(lot.step and (quantity - lot.min_qty) % lot.step for lot in lots):
        raise Refused(-4023, "Qty not increased by step size.")


def check_price(rules: SymbolRules, price: Decimal) -> None:
    """Bounds, precision and tick of a limit or trigger price. Raises Refused."""
    if price <= 0:
        raise Refused(-4001, "Price less than 0.")
    if _decimals(price) > rules.price_precision:
        raise refusals.precision()
    if price > rules.max_price:
        raise Refused(-4002, "Price greater than max price.")
    if price < rules.min_price:
        raise Refused(-4013, "Price less than min price.")
    if rules.tick and (price - rules.min_price) % rules.tick:
        raise Refused(-4014, "Price not increased by tick size.")


def check_percent_price(rules: SymbolRules, side: Side, price: Decimal, mark: Decimal) -> None:
    """A limit price may not lie too far on the bad side of the mark price. Raises Refused."""
    if side is Side.BUY and price > mark * rules.multiplier_up:
        raise Refused(-4016, "Price is higher than mark price multiplier cap.")
    if side is Side.SELL and price < mark * rules.multiplier_down:
        raise Refused(-4024, "Price is lower than mark price multiplier floor.")


def _decimals(value: Decimal) -> int:
    """Decimals as written: `1.0` has one. The harder reading of -1111."""
    exponent = value.as_tuple().exponent
    return -exponent if isinstance(exponent, int) and exponent < 0 else 0
