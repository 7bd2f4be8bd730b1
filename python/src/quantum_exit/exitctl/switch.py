"""`exitctl kill` and `exitctl resume`: what they print."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from quantum_exit.exitctl import control, kill
from quantum_exit.exitctl.context import EXIT_FAILED, CommandError, Context, say_error

if TYPE_CHECKING:
    from quantum_exit.exitctl.resume import ResumeReport

HOST_KILL_FILE: Final = "/var/lib/quantum/kill_switch"


def run_kill(context: Context, reason: str) -> int:
    environ = _with_kill_file(context.environ)
    act = control.act_now(environ, reason)
    report = kill.engage(environ, act, _base_url(environ))
    document = {
        "engaged": report.file_set or report.redis_set,
        "certain": report.certain,
        "file": report.file,
        "redis": report.redis,
        "orders": report.orders,
        "blind": report.blind,
        "waited_ms": report.waited_ms,
        "waited_for": report.waited_for,
        "warnings": report.warnings,
        "exit_code": report.exit_code,
    }
    context.emit(document, _kill_text(report))
    for warning in report.warnings:
        say_error(warning)
    return report.exit_code


def _with_kill_file(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Where no setting could be read, the file of a deployed host is still a place."""
    if "REDIS_URL" in environ or "QUANTUM_KILL_FILE" in environ:
        return environ
    return (
        {**environ, "QUANTUM_KILL_FILE": HOST_KILL_FILE}
        if os.path.exists(HOST_KILL_FILE)
        else environ
    )


def _base_url(environ: Mapping[str, str]) -> str | None:
    from quantum_exit.settings import ConfigError, base_url, is_testnet

    try:
        return base_url(environ, testnet=is_testnet(environ))
    except ConfigError:
        return None


def _kill_text(report: kill.KillReport) -> str:
    if report.exit_code == EXIT_FAILED:
        return (
            "KILL SWITCH NOT SET: neither place took it. Orders are still possible.\n"
            "Stop the executor instead: systemctl stop quantum-intent-executor.service"
        )
    lines = ["KILL SWITCH ON", f"  file   {report.file}", f"  redis  {report.redis}"]
    lines += [f"  not all orders can be seen: {why}" for why in report.blind]
    lines += [f"  on its way: {o['order']}: {o['outcome']}" for o in report.orders]
    lines.append(f"  waited {report.waited_ms} ms for {report.waited_for}")
    if report.certain:
        lines.append("No order of ours is accepted by the exchange any more.")
    else:
        lines.append("No new order is sent. That the last ones are dead is NOT confirmed.")
    return "\n".join(lines)


def run_resume(context: Context, reason: str) -> int:
    import redis

    from quantum_exit.exitctl import resume

    act = control.act_now(context.environ, reason)
    if not act.reason:
        raise CommandError("resume needs a reason: exitctl resume --reason 'why it is safe now'")
    try:
        report = resume.release(context.redis(), context.environ, act)
    except redis.RedisError as error:
        raise CommandError(f"Redis failed ({error}): see `exitctl status`, then repeat") from None
    document = {
        "released": [place.name for place in report.released],
        "still_on": [
            {"place": place.name, "why": place.why, "mend": place.mend} for place in report.still_on
        ],
        "enables": report.enables,
        "warnings": report.warnings,
        "exit_code": report.exit_code,
    }
    context.emit(document, _resume_text(report))
    return report.exit_code


def _resume_text(report: ResumeReport) -> str:
    names = ", ".join(place.name for place in report.released) or "nothing was on here"
    lines = [f"KILL SWITCH RELEASED: {names}"]
    lines += [f"  enabled again: {text}" for text in report.enables]
    lines += [f"  note: {text}" for text in report.warnings]
    for place in report.still_on:
        lines.append(f"STILL ON, not for this command to release: {place.name}: {place.why}")
        lines.append(f"  {place.mend}")
    return "\n".join(lines)
