"""Everything the exchange knows at one moment; the engine changes it, the margins read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from . import refusals
from .account import Account
from .brackets import Bracket
from .orders import OrderBook
from .symbols import SymbolRules


@dataclass(slots=True)
class Books:
    """`marks`: the mark price of every symbol."""

    rules: Mapping[str, SymbolRules]
    brackets: Mapping[str, tuple[Bracket, ...]]
    account: Account
    marks: dict[str, Decimal]
    orders: OrderBook = field(default_factory=OrderBook)

    def rules_of(self, symbol: str) -> SymbolRules:
        """Raises Refused for a symbol that is not listed."""
        rules = self.rules.get(symbol)
        if rules is None:
            raise refusals.invalid_symbol()
        return rules
