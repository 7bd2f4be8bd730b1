"""Fault rules: set, listed, removed."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from starlette.requests import Request

from ..faults import FaultBoard, Rule, When
from ..rest.answers import CATALOGUE, Canned
from .reading import BadControl, Fields, read_fields


class FaultControl:
    def __init__(self, board: FaultBoard) -> None:
        self._board = board

    async def faults(self, _: Request) -> object:
        return {"faults": [_as_json(rule) for rule in self._board.rules()]}

    async def add(self, request: Request) -> object:
        rule = _read_rule(await read_fields(request))
        self._board.add(rule)
        return _as_json(rule)

    async def remove(self, request: Request) -> object:
        """One rule by `id`, without it all of them."""
        rule_id = Fields(request.query_params).optional_integer("id")
        if rule_id is None:
            self._board.clear()
        elif not self._board.remove(rule_id):
            raise BadControl(f"there is no fault rule {rule_id}")
        return await self.faults(request)

    async def answers(self, _: Request) -> object:
        """The names that `answer` may have, with status and body."""
        return {
            name: {"status": canned.status, "body": canned.body}
            for name, canned in CATALOGUE.items()
        }


def _read_rule(fields: Fields) -> Rule:
    rule = Rule(
        method=fields.text("method", "*"),
        path=fields.text("path", "*"),
        symbol=fields.text("symbol", ""),
        client_id=fields.text("client_id", ""),
        skip=fields.integer("skip", 0),
        every=fields.integer("every", 1),
        probability=float(fields.decimal("probability", Decimal(1))),
        seed=fields.integer("seed", 0),
        times=fields.optional_integer("times"),
        delay_before_ms=fields.integer("delay_before_ms", 0),
        delay_after_ms=fields.integer("delay_after_ms", 0),
        drop=fields.choice("drop", When, When.BEFORE) if _given(fields, "drop") else None,
        answer=_read_answer(fields),
        answer_when=fields.choice("answer_when", When, When.BEFORE),
    )
    fields.refuse_others()
    if rule.every < 1 or not 0 <= rule.probability <= 1:
        raise BadControl("'every' must be 1 or more and 'probability' between 0 and 1")
    if not (rule.drop or rule.answer or rule.delay_before_ms or rule.delay_after_ms):
        raise BadControl("the rule does nothing: give a delay, 'drop' or 'answer'")
    return rule


def _given(fields: Fields, name: str) -> bool:
    return fields.raw(name) is not None


def _read_answer(fields: Fields) -> Canned | None:
    """A name of the catalogue, or an object with `status`, `body` and `headers`."""
    value = fields.raw("answer")
    if value is None:
        return None
    if isinstance(value, str):
        if value not in CATALOGUE:
            raise BadControl(f"no answer {value!r}; known are: {', '.join(CATALOGUE)}")
        return CATALOGUE[value]
    if not isinstance(value, Mapping):
        raise BadControl("'answer' must be a name or an object with status, body and headers")
    answer = Fields(value)
    status = answer.integer("status")
    body, headers = answer.raw("body"), answer.raw("headers") or {}
    answer.refuse_others()
    if not isinstance(headers, Mapping):
        raise BadControl("'headers' of an answer must be an object")
    return Canned(
        status, {} if body is None else body, {str(k): str(v) for k, v in headers.items()}
    )


def _as_json(rule: Rule) -> dict[str, object]:
    return {
        "id": rule.rule_id,
        "method": rule.method,
        "path": rule.path,
        "symbol": rule.symbol,
        "client_id": rule.client_id,
        "skip": rule.skip,
        "every": rule.every,
        "probability": rule.probability,
        "seed": rule.seed,
        "times": rule.times,
        "delay_before_ms": rule.delay_before_ms,
        "delay_after_ms": rule.delay_after_ms,
        "drop": rule.drop.value if rule.drop else None,
        "answer": (
            {"status": rule.answer.status, "body": rule.answer.body} if rule.answer else None
        ),
        "answer_when": rule.answer_when.value,
        "seen": rule.seen,
        "hits": rule.hits,
    }
