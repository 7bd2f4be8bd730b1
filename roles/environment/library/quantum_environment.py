#!/usr/bin/python
"""Move a host from one environment to the other (see DOCUMENTATION)."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.quantum_account_state import (
    META,
    OPEN,
    Redis,
    RedisError,
    last_result,
    settle,
)
from ansible.module_utils.quantum_host_environment import (
    JOURNAL,
    UnreadableError,
    deployed_for,
    read_journal,
    reader_of,
    write_journal,
)
from ansible.module_utils.quantum_signed_read import ReadError, open_positions

DOCUMENTATION = r"""
module: quantum_environment
short_description: Move a host from one environment, test network or real money, to the other
description:
  - C(leave) engages the kill switch, waits until no order is on its way, looks at the positions
    once more, stops every unit, and puts what Redis holds of the account aside. From then on no
    unit runs until all of them are to run on the other environment.
  - C(arrive) ends the move. Leave that was granted for a time does not go with it. The kill switch
    stays on.
  - C(go_back) stops what runs and has Redis hold what belongs to the account that was left.
  - C(release) releases the kill switch after going back, if it is still the one that the move
    engaged, and ends the move.
  - A move that died half-way is gone on with, or taken back, by the next run. Its journal says so.
  - Nothing is done, and nothing changes, where no move is under way or asked for.
options:
  operation:
    description: What to do.
    type: str
    choices: [leave, arrive, go_back, release]
    required: true
  environment:
    description: The environment that is deployed.
    type: str
    choices: [testnet, mainnet]
    required: true
  positions:
    description: C(leave) leaves positions and orders of unknown outcome alone.
    type: str
    choices: ["", leave]
    default: ""
"""

RETURN = r"""
moved:
  description: Whether Redis was given the state of the other account.
  type: bool
  returned: for leave and go_back
"""

EXITCTL = "/usr/local/bin/exitctl"
EXECUTOR, BRAIN = "quantum-intent-executor.service", "quantum-exitbrain-v35.service"
SENDERS = (EXECUTOR, "quantum-apply-layer.service")
TIMERS = ("exitbrain-proof.timer", "quantum-exit-owner-watch.timer", "quantum-policy-refresh.timer")
OTHERS = (
    *TIMERS,
    *(timer.replace(".timer", ".service") for timer in TIMERS),
    BRAIN,
    "quantum-position-state-brain.service",
)
SETTLED_WITHIN_S = 20
READ_WITHIN_S = 5
RESUMED_WITHIN_S = 30
POLL_S = 0.2
KILL_TIMEOUT_S = 30


class RefusedError(Exception):
    """The host cannot leave; the message says why."""


def until(condition: Callable[[], bool], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def systemctl(verb: str, *units: str) -> None:
    done = subprocess.run(
        ["systemctl", verb, *units], capture_output=True, text=True, check=False, timeout=90
    )
    if done.returncode != 0:
        raise RefusedError(f"systemctl {verb}: {done.stderr.strip()}")


def installed(units: tuple[str, ...]) -> list[str]:
    return [unit for unit in units if Path("/etc/systemd/system", unit).exists()]


def is_active(unit: str) -> bool:
    return subprocess.run(["systemctl", "--quiet", "is-active", unit], check=False).returncode == 0


def exitctl(*words: str) -> tuple[int, dict]:
    """Its exit status and its document; an empty one if it said none."""
    done = subprocess.run(
        [EXITCTL, *words, "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=KILL_TIMEOUT_S,
    )
    try:
        document = json.loads(done.stdout)
    except ValueError:
        return done.returncode, {}
    return done.returncode, document if isinstance(document, dict) else {}


class Move:
    def __init__(self, environment: str, positions: str) -> None:
        self._target = environment
        self._leave_positions = positions == "leave"
        self._operator, self._keeper = Redis("operator"), Redis("maintenance")
        self._journal = read_journal()
        self._left = deployed_for() or environment

    def is_wanted(self, operation: str) -> bool:
        """Only leaving begins a move; what follows needs one that was begun."""
        return bool(self._journal) or (operation == "leave" and self._left != self._target)

    def leave(self) -> bool:
        if self._left != self._target:
            self._stop_trading()
            self._wait_for_outcomes()
            self._refuse_positions()
        # The executor first: then no result is added, and the books can be closed.
        systemctl("stop", *installed(SENDERS))
        if is_active(BRAIN):
            until(self._results_are_read, READ_WITHIN_S)
        systemctl("stop", *installed(OTHERS))
        return self._settle(self._target)

    def arrive(self) -> None:
        granted = self._operator.lines("--scan", "--pattern", "quantum:delegation:*")
        self._operator.lines("DEL", "quantum:manual_lane:enabled", *filter(None, granted))
        self._note("ENVIRONMENT_CHANGED")
        self._end()

    def go_back(self) -> bool:
        systemctl("stop", *installed((*SENDERS, *OTHERS)))
        return self._settle(self._left)

    def release(self) -> None:
        if self._journal.get("killed_by_us") and self._switch_is_ours():
            reason = f"back on {self._left}: {self._journal['reason']} failed"
            if not until(lambda: exitctl("resume", "--reason", reason)[0] == 0, RESUMED_WITHIN_S):
                raise RefusedError("the kill switch that the move engaged was not released")
        self._end()

    # the steps

    def _stop_trading(self) -> None:
        if self._journal.get("killed_by_us") and self._switch_is_ours():
            return
        _, status = exitctl("status")
        switch = status.get("kill_switch", {})
        on = switch.get("on") is True and "redis_error" not in status
        # With its own time: two moves are told apart, and a person's switch from ours.
        reason = f"environment: {self._left} to {self._target}, {time.time():.3f}"
        journal = {"left": self._left, "target": self._target, "reason": reason}
        self._journal = {**journal, "killed_by_us": not on}
        write_journal(self._journal)
        if on:
            return
        code, told = exitctl("kill", "--reason", reason)
        if not told.get("engaged"):
            raise RefusedError(f"exitctl kill ended with {code}: nothing was moved")
        if not told.get("certain") and not self._leave_positions:
            raise RefusedError(f"the kill switch is on, but not certain: {told.get('warnings')}")

    def _switch_is_ours(self) -> bool:
        said = "".join(self._operator.lines("GET", "quantum:kill_switch"))
        try:
            return json.loads(said).get("reason") == self._journal.get("reason")
        except (ValueError, AttributeError):
            return False

    def _wait_for_outcomes(self) -> None:
        def none_open() -> bool:
            return self._operator.lines("HLEN", OPEN)[0] == "0"

        within_s = READ_WITHIN_S if self._leave_positions else SETTLED_WITHIN_S
        if not until(none_open, within_s) and not self._leave_positions:
            raise RefusedError(
                f"an order on {self._left} has no outcome yet: see exitctl status, try again, or "
                "leave it alone with -e positions=leave"
            )

    def _refuse_positions(self) -> None:
        """Asked of the exchange itself, now that no order of ours can follow."""
        if self._leave_positions:
            return
        try:
            held = open_positions(*reader_of(self._left))
        except ReadError as error:
            raise RefusedError(f"positions on {self._left} could not be read: {error}") from None
        if held:
            raise RefusedError(
                f"positions on {self._left}: {', '.join(sorted(held))}; close them, or leave them "
                "alone with -e positions=leave"
            )

    def _results_are_read(self) -> bool:
        return self._operator.lines("HGET", META, "cursor")[0:1] == [last_result(self._operator)]

    def _settle(self, environment: str) -> bool:
        other = self._left if environment == self._target else self._target
        return settle(self._operator, self._keeper, other, environment)

    def _note(self, event: str) -> None:
        now = time.time()
        entry = {"event": event, "by": "deployment", "reason": self._journal.get("reason", "")}
        entry |= {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)), "epoch": now}
        entry |= {"left": self._left, "environment": self._target}
        self._operator.lines("LPUSH", "quantum:ops:exitbrain:control", json.dumps(entry))
        self._operator.lines("LTRIM", "quantum:ops:exitbrain:control", "0", "99")

    def _end(self) -> None:
        systemctl("start", *installed(TIMERS))
        JOURNAL.unlink(missing_ok=True)

    def diff(self) -> dict[str, str]:
        return {
            "before": f"environment: {self._left}\n",
            "after": f"environment: {self._target}\nkill switch: on\nmode: SHADOW\n",
        }


def main() -> None:
    operations = ["leave", "arrive", "go_back", "release"]
    module = AnsibleModule(
        argument_spec={
            "operation": {"type": "str", "choices": operations, "required": True},
            "environment": {"type": "str", "choices": ["testnet", "mainnet"], "required": True},
            "positions": {"type": "str", "choices": ["", "leave"], "default": ""},
        },
        supports_check_mode=True,
    )
    os.umask(0o077)
    operation = module.params["operation"]
    try:
        move = Move(module.params["environment"], module.params["positions"])
        if not move.is_wanted(operation):
            module.exit_json(changed=False, moved=False)
        diff = move.diff() if operation == "leave" else {}
        moved = False if module.check_mode else getattr(move, operation)()
    except (RefusedError, RedisError, UnreadableError) as error:
        module.fail_json(msg=str(error))
    except (OSError, subprocess.SubprocessError) as error:
        module.fail_json(msg=f"{type(error).__name__}: {error}")
    module.exit_json(changed=True, moved=bool(moved), diff=diff)


if __name__ == "__main__":
    main()
