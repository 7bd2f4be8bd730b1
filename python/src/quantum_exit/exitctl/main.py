"""The command line. Everything a command needs is imported when it runs, not before."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from quantum_exit.exitctl.context import (
    EXIT_COULD_NOT_RUN,
    OPERATOR_ENV,
    CommandError,
    Context,
    load_environ,
    say_error,
)

Command = Callable[[Context, argparse.Namespace], int]
_ACTS = frozenset({"kill", "resume", "manual-lane", "delegate", "rearm", "reconcile", "plan"})
"""What they did is done, whether or not their answer could be written."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """A mistyped command is "could not be run", not the 2 that means FAIL."""
        self.print_usage(sys.stderr)
        self.exit(EXIT_COULD_NOT_RUN, f"{self.prog}: {message}\n")


if TYPE_CHECKING:
    _Commands = argparse._SubParsersAction[_Parser]


def build_parser() -> argparse.ArgumentParser:
    common = _Parser(add_help=False)
    common.add_argument("--json", action="store_true", help="one JSON object instead of text")
    common.add_argument("--env-file", default=OPERATOR_ENV, help=argparse.SUPPRESS)
    parser = _Parser(
        prog="exitctl",
        description="Look at this host's exits, stop them, let them go on, and prove both.",
        epilog="Exit status: 0 done or PASS, 1 in part, 2 refused or FAIL, 3 could not be run.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: Command, text: str) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = commands.add_parser(
            name, parents=[common], help=text, description=text
        )
        sub.set_defaults(run=run)
        return sub

    add("status", _status, "mode, switch, services, positions, open plans: one glance")
    top = add("top", _top, "one screen that keeps up: positions, decisions, denials, alerts")
    top.add_argument("--once", action="store_true", help="print one frame and end")
    kill = add("kill", _kill, "stop: when it returns, no order of ours is accepted any more")
    kill.add_argument("--reason", default="by hand", help="why; kept with the switch")
    resume = add("resume", _resume, "release the kill switch, if positions are known")
    resume.add_argument("--reason", required=True, help="why; kept with the switch")
    proof = add("proof", _proof, "check the running state and give a verdict")
    proof.add_argument("name", choices=("exitbrain", "executor", "apply", "watch", "host", "all"))
    proof.add_argument(
        "--expect",
        choices=("live", "shadow", "killed"),
        help="what should be (live; by the clock, what was deployed)",
    )
    proof.add_argument(
        "--nagios", action="store_true", help="one line with performance data, for monitoring"
    )
    lane = add("manual-lane", _manual_lane, "let plans of the manual stream execute for a time")
    lane.add_argument("state", choices=("on", "off"))
    lane.add_argument("--ttl", help="how long: 90s, 15m, 1h; a day at most")
    lane.add_argument("--reason", default="by hand", help="why; kept in the control list")
    leave = add("delegate", _delegate, "let another source exit for a time")
    leave.add_argument("source", metavar="SOURCE")
    leave.add_argument("--ttl", help="how long: 90s, 15m, 1h; a day at most")
    leave.add_argument("--symbol", help="in this symbol alone; without it in all")
    leave.add_argument("--revoke", action="store_true", help="end it now")
    leave.add_argument("--reason", required=True, help="why; kept with the delegation")
    rearm = add("rearm", _rearm, "let a source that was stopped for repeating itself send again")
    rearm.add_argument("source", metavar="SOURCE")
    rearm.add_argument("--reason", default="by hand", help="why; kept in the control list")
    mend = add("reconcile", _reconcile, "say that the exchange is right about a symbol")
    mend.add_argument("symbol", metavar="SYMBOL")
    mend.add_argument("--reason", default="by hand", help="why; kept in the control list")
    mend.add_argument("--wait", default="15s", help="how long to wait for P3.3 (15s)")
    audit = add("audit", _audit, "who changed what lately, and which leave holds now")
    audit.add_argument("--limit", type=int, default=20, help="entries of each kind (20)")
    shadow = add("shadow-report", _shadow, "what SHADOW would have done, beside what happened")
    shadow.add_argument("--since", default="24h", help="how far back (24h)")
    report = add("report", _report, "a period: proofs, closed positions, denials, latencies")
    report.add_argument("--html", action="store_true", help="one page that needs nothing else")
    report.add_argument("--since", default="24h", help="how far back (24h)")
    report.add_argument("--out", metavar="FILE", help="where the page goes (standard output)")
    report.add_argument(
        "--expect",
        choices=("live", "shadow", "killed"),
        help="what the proofs expect (what is seen)",
    )
    _add_plan(commands, common)
    return parser


def _add_plan(commands: _Commands, common: _Parser) -> None:
    text = "send one plan by hand, for drills and emergencies"
    plan = commands.add_parser("plan", help=text, description=text)
    verbs = plan.add_subparsers(dest="verb", required=True, metavar="VERB")
    send = verbs.add_parser(
        "send", parents=[common], help="send it, wait for its result", description=text
    )
    send.add_argument("--symbol", required=True)
    send.add_argument("--side", required=True, choices=("BUY", "SELL"))
    send.add_argument("--qty", required=True)
    send.add_argument("--reduce-only", action="store_true", help="without it the plan opens")
    send.add_argument("--source", help="without it: the exit owner, signed with its key (root)")
    send.add_argument("--unsigned", action="store_true", help="of the owner, to see it denied")
    send.add_argument("--manual", action="store_true", help="into the manual lane")
    send.add_argument("--reason", default="drill", help="goes with the plan")
    send.set_defaults(run=_plan_send)


def _status(context: Context, _: argparse.Namespace) -> int:
    from quantum_exit.exitctl import status

    return status.run(context)


def _top(context: Context, arguments: argparse.Namespace) -> int:
    from quantum_exit.exitctl.top import command

    return command.run(context, once=arguments.once)


def _kill(context: Context, arguments: argparse.Namespace) -> int:
    from quantum_exit.exitctl import switch

    return switch.run_kill(context, arguments.reason)


def _resume(context: Context, arguments: argparse.Namespace) -> int:
    from quantum_exit.exitctl import switch

    return switch.run_resume(context, arguments.reason)


def _proof(context: Context, arguments: argparse.Namespace) -> int:
    from quantum_exit.exitctl import proof

    expect = arguments.expect or proof.expected(context.environ)
    return proof.run(context, arguments.name, expect, nagios_line=arguments.nagios)


def _manual_lane(context: Context, arguments: argparse.Namespace) -> int:
    from quantum_exit.exitctl import leave

    return leave.manual_lane(context, arguments.state, arguments.ttl, arguments.reason)


def _delegate(context: Context, arguments: argparse.Namespace) -> int:
    from quantum_exit.exitctl import leave

    if arguments.revoke:
        return leave.revoke(context, arguments.source, arguments.reason)
    if arguments.ttl is None:
        raise CommandError("a delegation ends by itself: add --ttl 15m")
    return leave.delegate(
        context, arguments.source, arguments.ttl, arguments.symbol, arguments.reason
    )


def _rearm(context: Context, arguments: argparse.Namespace) -> int:
    from quantum_exit.exitctl import leave

    return leave.rearm(context, arguments.source, arguments.reason)


def _reconcile(context: Context, arguments: argparse.Namespace) -> int:
    from quantum_exit.exitctl import leave, reconcile

    wait_s = leave.checked_duration("--wait", arguments.wait)
    return reconcile.run(context, arguments.symbol, arguments.reason, wait_s)


def _audit(context: Context, arguments: argparse.Namespace) -> int:
    from quantum_exit.exitctl import audit

    return audit.run(context, max(1, arguments.limit))


def _shadow(context: Context, arguments: argparse.Namespace) -> int:
    from quantum_exit.exitctl import leave, shadow

    return shadow.run(context, leave.checked_duration("--since", arguments.since))


def _report(context: Context, arguments: argparse.Namespace) -> int:
    from quantum_exit.exitctl import leave
    from quantum_exit.exitctl.report import command

    since_s = leave.checked_duration("--since", arguments.since)
    return command.run(context, since_s, arguments.expect, arguments.out, html=arguments.html)


def _plan_send(context: Context, arguments: argparse.Namespace) -> int:
    from quantum_exit.exitctl import plan

    asked = plan.Asked(
        symbol=arguments.symbol,
        side=arguments.side,
        qty=arguments.qty,
        reduce_only=arguments.reduce_only,
        source=arguments.source,
        manual=arguments.manual,
        reason=arguments.reason,
        unsigned=arguments.unsigned,
    )
    return plan.send(context, asked)


def _environ(arguments: argparse.Namespace) -> Mapping[str, str]:
    try:
        return load_environ(os.environ, arguments.env_file)
    except CommandError as error:
        if arguments.command != "kill":
            raise
        # A broken file of settings must not stand between a person and the stop.
        say_error(f"{error}; going on without it")
        return os.environ


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    arguments = build_parser().parse_args(argv)
    run: Command = arguments.run
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal may know fewer characters than we
    try:
        context = Context(_environ(arguments), arguments.json)
        code = run(context, arguments)
    except CommandError as error:
        say_error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        say_error("interrupted; see `exitctl status` for what holds")
        return EXIT_COULD_NOT_RUN
    except Exception as error:  # looked at by name, to import nothing for a kill
        if not any(kind.__name__ == "RedisError" for kind in type(error).__mro__):
            raise
        say_error(f"Redis failed: {error}; see `exitctl status`, then repeat")
        return EXIT_COULD_NOT_RUN
    for why in context.lost:
        say_error(why)
    return EXIT_COULD_NOT_RUN if context.lost and arguments.command not in _ACTS else code


if __name__ == "__main__":
    sys.exit(main())
