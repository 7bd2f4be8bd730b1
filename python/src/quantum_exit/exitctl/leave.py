"""Leave that a person gives for a time: the manual lane, delegations, and re-arming a source."""

from __future__ import annotations

import json
import re
from typing import Final

from quantum_exit import keys
from quantum_exit.alerts.model import AlertType, Severity
from quantum_exit.exitctl import control
from quantum_exit.exitctl.context import EXIT_DONE, EXIT_FAILED, CommandError, Context
from quantum_exit.exitctl.ttl import format_age, parse_ttl
from quantum_exit.settings import exit_owner

_SOURCE: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)
_SYMBOL: Final = re.compile(r"[A-Z0-9_\u4e00-\u9fff]{1,40}")


def checked_source(text: str) -> str:
    if not _SOURCE.fullmatch(text):
        raise CommandError(f"{text!r} is not the name of a source: letters, digits and _.:- only")
    return text


def checked_symbol(text: str) -> str:
    symbol = text.strip().upper()
    if not _SYMBOL.fullmatch(symbol):
        raise CommandError(f"{text!r} is not a symbol: write it like BTCUSDT")
    return symbol


def checked_duration(option: str, text: str) -> int:
    """Seconds."""
    try:
        return parse_ttl(text)
    except ValueError as error:
        raise CommandError(f"{option}: {error}") from None


def manual_lane(context: Context, state: str, ttl: str | None, reason: str) -> int:
    """On for a time, or off."""
    act = control.act_now(context.environ, reason)
    client = context.redis()
    if state == "off":
        noted = control.entry(act, "MANUAL_LANE_DISABLED", {})
        control.perform(client, [("DEL", keys.MANUAL_LANE_ENABLED), *noted])
        context.emit({"manual_lane": "off"}, "MANUAL LANE OFF: its plans are answered as disabled")
        return EXIT_DONE
    if ttl is None:
        raise CommandError("the manual lane goes on for a time only: add --ttl 15m")
    ttl_s = checked_duration("--ttl", ttl)
    kind = AlertType.MANUAL_LANE_ENABLED
    noted = control.trail(act, kind, Severity.WARNING, {"ttl_s": ttl_s})
    switched = ("SET", keys.MANUAL_LANE_ENABLED, "1", "EX", str(ttl_s))
    control.perform(client, [switched, *noted])
    context.emit(
        {"manual_lane": "on", "ttl_s": ttl_s},
        f"MANUAL LANE ON for {format_age(ttl_s)}, then off by itself\n"
        f"  plans in {keys.APPLY_PLAN_MANUAL} pass the same gates as any other",
    )
    return EXIT_DONE


def delegate(context: Context, source: str, ttl: str, symbol: str | None, reason: str) -> int:
    """A source may exit for a time, in one symbol or in all."""
    source = checked_source(source)
    if source == exit_owner(context.environ):
        raise CommandError(
            f"{source} is the exit owner: it needs no delegation, only its signature"
        )
    where = None if symbol is None else checked_symbol(symbol)
    ttl_s = checked_duration("--ttl", ttl)
    act = control.act_now(context.environ, reason)
    if not act.reason:
        raise CommandError("a delegation needs a reason: add --reason 'why'")
    document = {"symbol": where, "by": act.by, "reason": act.reason, "at": act.at}
    details = {"source": source, "symbol": where or "all", "ttl_s": ttl_s}
    noted = control.trail(act, AlertType.DELEGATION_GRANTED, Severity.WARNING, details)
    granted = ("SET", keys.delegation(source), json.dumps(document), "EX", str(ttl_s))
    control.perform(context.redis(), [granted, *noted])
    context.emit(
        details,
        f"DELEGATED: {source} may exit {where or 'every symbol'} for {format_age(ttl_s)}, "
        "then no more\n"
        f"  ends at once with: exitctl delegate {source} --revoke --reason '…'",
    )
    return EXIT_DONE


def revoke(context: Context, source: str, reason: str) -> int:
    source = checked_source(source)
    act = control.act_now(context.environ, reason)
    client = context.redis()
    held = bool(client.exists(keys.delegation(source)))
    noted = control.entry(act, "DELEGATION_REVOKED", {"source": source})
    control.perform(client, [("DEL", keys.delegation(source)), *noted])
    text = f"REVOKED: {source} may not exit" if held else f"{source} held no delegation"
    context.emit({"source": source, "revoked": held}, text)
    return EXIT_DONE


def rearm(context: Context, source: str, reason: str) -> int:
    """A source that was stopped for repeating the same order may send again."""
    source = checked_source(source)
    act = control.act_now(context.environ, reason)
    client = context.redis()
    if not client.exists(keys.executor_stopped_source(source)):
        context.emit({"source": source, "rearmed": False}, f"{source} was not stopped")
        return EXIT_FAILED
    noted = control.entry(act, "SOURCE_REARMED", {"source": source})
    control.perform(client, [("DEL", keys.executor_stopped_source(source)), *noted])
    context.emit({"source": source, "rearmed": True}, f"REARMED: {source} may send orders again")
    return EXIT_DONE
