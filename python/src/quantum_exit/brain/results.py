"""What `apply.result` says of a plan, as far as the brain needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from quantum_exit import keys
from quantum_exit.gates.model import intent_identity
from quantum_exit.values import InvalidNumberError, OrderSide, parse_number

_OF_AN_INTENT: Final = "exit-"


@dataclass(frozen=True, slots=True)
class PlanResult:
    plan_id: str
    symbol: str
    decision: str
    error: str
    filled: Decimal
    """Signed: what it added to the position. Zero when nothing was filled."""
    source: str
    """Of the plan. Anybody's plan may bear the id that an intent of ours gives its own."""
    is_certain: bool = False
    """The executor's own mark says that the plan of that signed intent has ended: whoever wrote
    this, the executor sends nothing more for it."""

    @property
    def done_key(self) -> str | None:
        """Where that mark stands; None for what is no plan of an intent."""
        if not self.plan_id.startswith(_OF_AN_INTENT):
            return None
        intent_id = self.plan_id.removeprefix(_OF_AN_INTENT)
        return keys.executor_done(intent_identity(self.source, self.plan_id, intent_id))

    def answers(self, intent_id: str) -> bool:
        """The Apply Layer names a plan after its intent; one that it takes for nobody's by
        right, and blocks, has a digest behind the id."""
        plan_id = self.plan_id
        return plan_id == f"{_OF_AN_INTENT}{intent_id}" or plan_id.startswith(
            f"refused-{intent_id}-"
        )

    def fills_an_attempt_of(self, intent_id: str) -> bool:
        """It is a fill for this intent or for another attempt for the same reason: a result
        may come after we had given the attempt up."""
        base = intent_id.rpartition("-")[0]
        return bool(self.filled) and self.plan_id.rpartition("-")[0] == f"{_OF_AN_INTENT}{base}"


def read_result(raw: Mapping[bytes, bytes]) -> PlanResult:
    """Never raises: what cannot be read is empty or zero, and explains nothing."""
    return read_fields(
        {name.decode("utf-8", "replace"): v.decode("utf-8", "replace") for name, v in raw.items()}
    )


def read_fields(fields: Mapping[str, str]) -> PlanResult:
    return PlanResult(
        source=fields.get("plan_source", ""),
        plan_id=fields.get("plan_id", ""),
        symbol=fields.get("symbol", ""),
        decision=fields.get("decision", ""),
        error=fields.get("error", ""),
        filled=_signed_fill(fields.get("side", ""), fields.get("filled_qty", "")),
    )


def _signed_fill(side: str, quantity: str) -> Decimal:
    try:
        return OrderSide(side).sign * parse_number(quantity)
    except (ValueError, InvalidNumberError):
        return Decimal(0)
