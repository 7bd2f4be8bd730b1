"""`exitctl plan send`: one plan, by a person, for drills and emergencies."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import redis

from quantum_exit import keys
from quantum_exit.exitctl import control
from quantum_exit.exitctl.context import (
    EXIT_COULD_NOT_RUN,
    EXIT_DONE,
    EXIT_FAILED,
    CommandError,
    Context,
)
from quantum_exit.exitctl.leave import checked_source, checked_symbol
from quantum_exit.proofs import host
from quantum_exit.proofs.observe import BRAIN_ENV_FILE
from quantum_exit.settings import exit_owner
from quantum_exit.values import InvalidNumberError, Unknown, format_epoch, parse_number

RESULT_WAIT_S: Final = 30.0
_POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line said."""

    symbol: str
    side: str
    qty: str
    reduce_only: bool
    source: str | None
    manual: bool
    reason: str
    unsigned: bool


def send(context: Context, asked: Asked) -> int:
    """Exit status 0 when it was executed, 2 when it was answered otherwise, 3 without a result."""
    owner = exit_owner(context.environ)
    source = checked_source(asked.source or owner)
    act = control.act_now(context.environ, asked.reason)
    fields = _fields(asked, source, act)
    if source == owner and not asked.unsigned:
        fields["sig"] = _sign(context.environ, fields)
    stream = keys.APPLY_PLAN_MANUAL if asked.manual else keys.APPLY_PLAN
    client = context.redis()
    since = _newest(client)
    flat = [part for pair in fields.items() for part in pair]
    noted = control.entry(act, "PLAN_SENT", {"plan_id": fields["plan_id"], "source": source})
    control.perform(client, [("XADD", stream, "*", *flat), *noted])
    result = await_result(client, fields["plan_id"], since, RESULT_WAIT_S)
    context.emit({"plan": _shown(fields), "result": result}, _text(fields, result))
    if result is None:
        return EXIT_COULD_NOT_RUN
    return EXIT_DONE if result.get("executed") == "true" else EXIT_FAILED


def _fields(asked: Asked, source: str, act: control.Act) -> dict[str, str]:
    try:
        qty = parse_number(asked.qty)
    except InvalidNumberError:
        qty = None
    if not qty:
        raise CommandError(f"--qty {asked.qty!r} is not a quantity: digits, above 0, like 0.010")
    return {
        "plan_id": f"exitctl-{uuid.uuid4()}",
        "decision": "EXECUTE",
        "reason": act.reason,
        "symbol": checked_symbol(asked.symbol),
        "side": asked.side,
        "type": "MARKET",
        "qty": asked.qty,
        "reduceOnly": "true" if asked.reduce_only else "false",
        "source": source,
        "signature": source,
        "timestamp": format_epoch(act.epoch),
        "action": "MANUAL",
    }


def _sign(environ: Mapping[str, str], fields: Mapping[str, str]) -> str:
    """With the owner's key, which only root may read."""
    from quantum_exit.signing import PLAN_FIELDS, BadKeyError, Signer

    seed = environ.get("QUANTUM_SIGNING_KEY", "").strip()
    if not seed:
        file = host.read_env_file(BRAIN_ENV_FILE)
        if isinstance(file, Unknown):
            raise CommandError(
                f"the owner's key cannot be read ({file.why}): run this as root, or send with "
                "--source of somebody else"
            )
        seed = file.get("QUANTUM_SIGNING_KEY", "")
    try:
        return Signer(seed).sign(fields, PLAN_FIELDS)
    except BadKeyError as error:
        raise CommandError(f"QUANTUM_SIGNING_KEY in {BRAIN_ENV_FILE}: {error}") from None


def _newest(client: redis.Redis) -> str:
    page = cast("list[Any]", client.xrevrange(keys.APPLY_RESULT, count=1))
    return str(page[0][0]) if page else "0-0"


def await_result(
    client: redis.Redis, plan_id: str, since: str, wait_s: float
) -> dict[str, str] | None:
    """The plan's result, looked for behind the entry `since`; None when none comes."""
    deadline = time.monotonic() + wait_s
    while True:
        page = cast("list[Any]", client.xrange(keys.APPLY_RESULT, min=f"({since}", count=1000))
        for entry_id, fields in page:
            since = entry_id
            if fields.get("plan_id") == plan_id:
                return dict(fields)
        if time.monotonic() > deadline:
            return None
        if not page:
            time.sleep(_POLL_S)


def _shown(fields: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in fields.items() if name != "sig"}


def _text(fields: Mapping[str, str], result: Mapping[str, str] | None) -> str:
    what = f"{fields['symbol']} {fields['side']} {fields['qty']} reduceOnly={fields['reduceOnly']}"
    head = f"PLAN {fields['plan_id']} of {fields['source']}: {what}"
    if result is None:
        return f"{head}\nNO RESULT within {RESULT_WAIT_S:.0f} s: it is open; see `exitctl status`"
    if result.get("executed") == "true":
        filled = f"{result.get('filled_qty')} filled, order {result.get('order_id')}"
        return f"{head}\nEXECUTED: {filled}"
    return f"{head}\n{result.get('decision')}: {result.get('error')}"
