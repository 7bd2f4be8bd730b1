"""Engage or release the kill switch of a host, or, in check mode, tell what is on where.

What runs on the host is `files/kill_switch.sh`, sent through standard input: it needs no
Python, no temporary file and no free disk there. This side reads what it answers, and says it.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

SCRIPT = Path(__file__).resolve().parents[1] / "files" / "kill_switch.sh"
FILE = "/var/lib/quantum/kill_switch"
STATES = {"on": "on", "off": "off", True: "on", False: "off"}  # YAML reads on as true
USAGE = 'give -e state=on|off and -e \'{"reason": "why"}\'; no host was touched'
# exitctl's exit statuses; all others mean that it did not run to its end.
DONE, IN_PART, REFUSED, UNCONFIRMED = 0, 1, 2, 3
ENDED = {124: "did not end in time", 126: "cannot be run", 127: "is missing", 137: "was killed"}


@dataclass
class Command:
    """What one command on the host came to. `document`: its JSON, if it said any."""

    status: int | None = None
    document: dict[str, Any] | None = None
    lines: list[str] = field(default_factory=list)

    @property
    def error(self) -> str:
        """Why there is no document, in one line."""
        if self.lines:
            return self.lines[-1].removeprefix("exitctl: ")
        return f"exitctl {ENDED.get(self.status or 0, f'ended with {self.status}')}"


@dataclass
class Answer:
    """What the script learned on the host."""

    words: dict[str, str]
    commands: dict[str, Command]

    def command(self, name: str) -> Command:
        return self.commands.get(name, Command())


@dataclass
class Report:
    """One host's result. `lines` are for a person."""

    changed: bool
    failed: bool
    lines: list[str]


def read_answer(text: str) -> Answer:
    """Parse the script's output; lines of other origin (a banner) are passed over."""
    words: dict[str, str] = {}
    commands: dict[str, Command] = {}
    for line in text.splitlines():
        name, separator, rest = line.partition(":")
        if separator and name in {"status", "done", "shell"}:
            command = commands.setdefault(name, Command())
            document = _document(rest)
            if document is not None:
                command.document = document
            elif rest.strip():
                command.lines.append(rest.strip())
            continue
        name, separator, rest = line.partition("=")
        if separator and name in {"status", "done"} and rest.isdigit():
            commands.setdefault(name, Command()).status = int(rest)
        elif separator and name in {"before", "after"}:
            words[name] = rest
    return Answer(words, commands)


def _document(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        document = json.loads(text)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def places(answer: Answer) -> dict[str, bool | None]:
    """Each place that exitctl's status named, and whether it is on. None: it said none."""
    document = answer.command("status").document or {}
    named = document.get("kill_switch", {}).get("places", [])
    found: dict[str, bool | None] = {place["name"]: place["state"] == "ON" for place in named}
    found.setdefault("redis", None)
    found["file"] = answer.words.get("before") != "off"
    return found


def report_of_look(answer: Answer, wanted: str) -> Report:
    """Check mode: what is on where, and whether switching would change it."""
    status = answer.command("status")
    named = (status.document or {}).get("kill_switch", {}).get("places", [])
    lines = [
        f"{place['name']}: {place['state']} ({place['why']})"
        for place in named
        if place["name"] != "file"
    ]
    lines.append(f"file: {FILE}: {answer.words.get('before', 'not read')}")
    if not named:
        lines.append(f"Redis was not read: {status.error}")
    elif status.document and "redis_error" in status.document:
        lines.append(f"Redis was not read: {status.document['redis_error']}")
    found = places(answer)
    ours = (found["redis"], found["file"])
    changed = wanted == "on" and any(place is not True for place in ours)
    changed = changed or (wanted == "off" and any(place is not False for place in ours))
    lines.append(f"switching it {wanted} would change {'this' if changed else 'nothing'}")
    return Report(changed, False, lines)


def report_of_kill(answer: Answer) -> Report:
    """What `on` came to. The file was written by the shell first, whatever exitctl says."""
    done = answer.command("done")
    document = done.document
    was = places(answer)
    changed = was["file"] is False or (was["redis"] is not True and document is not None)
    by_file = answer.words.get("after") == "on"
    if document is None:
        lines = [f"exitctl kill did not do it: {done.error}"]
        if by_file:
            lines += [
                f"ON by a plain write to {FILE}: no new order is sent",
                "NOT CONFIRMED that the last ones are dead: recvWindow and a clock's offset "
                "have to pass (2 s). Redis still says what it said before",
            ]
        else:
            lines.append(f"NOT SET: {FILE} is {answer.words.get('after', 'not read')}")
            lines += answer.command("shell").lines[-1:]
            lines.append("stop the executor: systemctl stop quantum-intent-executor.service")
        return Report(changed and by_file, True, lines)
    lines = [f"file: {document['file']}", f"redis: {document['redis']}"]
    lines += [f"on its way: {order['order']}: {order['outcome']}" for order in document["orders"]]
    lines += [f"not all orders can be seen: {why}" for why in document["blind"]]
    lines.append(f"waited {document['waited_ms']} ms for {document['waited_for']}")
    lines += document["warnings"]
    lines.append(
        {
            DONE: "ON: no order of ours is accepted by the exchange any more",
            IN_PART: "ON, but one of its places was refused: see above",
            UNCONFIRMED: "ON, NOT CONFIRMED: no new order is sent; the last may still be accepted",
        }.get(done.status or 0, "NOT SET")
    )
    return Report(changed, done.status != DONE, lines)


def report_of_resume(answer: Answer) -> Report:
    """What `off` came to."""
    done = answer.command("done")
    if done.document is None:
        still = answer.words.get("after", "not read")
        return Report(False, True, [f"NOT RELEASED: {done.error}", f"file: {FILE}: {still}"])
    document = done.document
    released = document["released"]
    lines = [f"released: {', '.join(released) or 'nothing was on here'}"]
    lines += [f"enabled again: {text}" for text in document["enables"]]
    lines += [f"note: {text}" for text in document["warnings"]]
    lines += [
        f"STILL ON in {place['place']}: {place['why']}; {place['mend']}"
        for place in document["still_on"]
    ]
    if done.status == DONE:
        lines.append("OFF")
    return Report(bool(released), done.status != DONE, lines)


class ActionModule(ActionBase):
    """Takes names of variables and reads them as they were given, without templating."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"state_variable", "reason_variable"})

    def run(self, tmp=None, task_vars=None):
        """Return the report as `msg`, always shown."""
        result = super().run(tmp, task_vars)
        wanted, reason = self._asked(task_vars or {})
        words = ["look"] if self._task.check_mode else [wanted, reason]
        command = shlex.join(["sh", "-s", "--", *words])
        done = self._low_level_execute_command(command, in_data=SCRIPT.read_bytes())
        answer = read_answer(done["stdout"])
        if "after" not in answer.words:
            said = done["stderr"].strip() or f"it ended with {done['rc']}"
            raise AnsibleActionFail(f"UNKNOWN whether the switch is set: {said}")
        if self._task.check_mode:
            report = report_of_look(answer, wanted)
        else:
            report = report_of_kill(answer) if wanted == "on" else report_of_resume(answer)
        return {
            **result,
            "changed": report.changed,
            "failed": report.failed,
            "msg": "\n".join(report.lines),
            "_ansible_verbose_always": True,
        }

    def _asked(self, task_vars):
        state = task_vars.get(self._task.args["state_variable"])
        reason = task_vars.get(self._task.args["reason_variable"])
        if isinstance(state, str):
            state = state.strip().lower()
        if not isinstance(state, (str, bool)) or state not in STATES:
            said = "state is missing" if state is None else f"state={state!r} is neither on nor off"
            raise AnsibleActionFail(f"{said}; {USAGE}")
        if not isinstance(reason, str) or not reason.strip():
            raise AnsibleActionFail(f"reason is missing; {USAGE}")
        return STATES[state], " ".join(reason.split())
