"""Turns a run of drift.yml into a report: what differs, on which host, and an exit status.

Every task of the deployment runs in check mode and says whether it would change something:
those that would are the drift. Inert for all other playbooks.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible import context
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: quantum_drift
type: aggregate
short_description: Report of drift.yml
description: Collects what would change in check mode; ends with 0, 1 (drift) or 2 (cannot tell).
"""

PLAYBOOK = "drift.yml"
NO_DRIFT, DRIFT, CANNOT_TELL = 0, 1, 2
# What a result says about itself, and is no content of any file: names, paths, reasons.
# Diffs are left out; those of env files name variables only, but one that slips is one too many.
TOLD = ("reasons", "dest", "path", "name", "files", "stdout_lines")
TOO_LONG = 20


@dataclass
class Seen:
    """What one host came to."""

    drift: list[dict[str, Any]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    checked: int = 0


def told(result: dict[str, Any]) -> dict[str, Any]:
    """The parts of a task's result that may be shown."""
    if result.get("_ansible_no_log") or result.get("censored"):
        return {}
    items = [told(each) for each in result.get("results", []) if each.get("changed")]
    kept = {name: result[name] for name in TOLD if result.get(name)}
    return {**kept, "items": items} if items else kept


def line(entry: dict[str, Any]) -> str:
    """One difference, for a person."""
    rest = {name: value for name, value in entry.items() if name != "task"}
    return f"{entry['task']}{f': {_short(rest)}' if rest else ''}"


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(_short(each) for each in value.values())
    if isinstance(value, list):
        more = f" and {len(value) - TOO_LONG} more" if len(value) > TOO_LONG else ""
        return ", ".join(_short(each) for each in value[:TOO_LONG]) + more
    return str(value)


class CallbackModule(CallbackBase):
    """Collects, and ends the run with the exit status of the report."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "quantum_drift"

    def __init__(self) -> None:
        super().__init__()
        self._ours = False
        self._json_path = ""
        self._hosts: dict[str, Seen] = defaultdict(Seen)

    def v2_playbook_on_start(self, playbook):
        """Refuse a run that would not only look."""
        self._ours = Path(playbook._file_name).name == PLAYBOOK
        if self._ours and not context.CLIARGS["check"]:
            self._display.error("drift.yml only looks: add --check. Nothing was done")
            sys.exit(CANNOT_TELL)

    def v2_playbook_on_play_start(self, play):
        """Where the JSON goes, by -e drift_json=PATH, or - for standard output."""
        if self._ours:
            manager = play.get_variable_manager()
            self._json_path = str(manager.extra_vars.get("drift_json", ""))

    def v2_runner_on_ok(self, result):
        """A task that ran; one that would change something is a difference."""
        seen = self._hosts[result.host.get_name()]
        seen.checked += 1
        if result.result.get("changed"):
            seen.drift.append({"task": result.task.get_name(), **told(result.result)})

    def v2_runner_on_failed(self, result, ignore_errors=False):
        """What cannot be looked at is not known to be as deployed."""
        if not ignore_errors:
            text = str(result.result.get("msg", "it failed")).splitlines() or ["it failed"]
            reason = f"{result.task.get_name()}: {text[0]}"
            self._hosts[result.host.get_name()].unknown.append(reason)

    def v2_runner_on_unreachable(self, result):
        """As above."""
        self._hosts[result.host.get_name()].unknown.append("cannot be reached")

    def v2_playbook_on_stats(self, stats):  # noqa: ARG002 - the name is Ansible's
        """Print the report and end with its exit status."""
        if not self._ours:
            return
        hosts = {name: seen for name, seen in self._hosts.items() if name != "localhost"}
        status = self._status(hosts)
        for name in sorted(hosts):
            self._say(name, hosts[name])
        if not hosts:
            self._display.error("no host was looked at")
        if self._json_path:
            self._write(hosts, status)
        if status:
            sys.exit(status)

    def _status(self, hosts: dict[str, Seen]) -> int:
        local = self._hosts.get("localhost", Seen())
        if not hosts or local.unknown or any(s.unknown or not s.checked for s in hosts.values()):
            return CANNOT_TELL
        return DRIFT if any(seen.drift for seen in hosts.values()) else NO_DRIFT

    def _say(self, name: str, seen: Seen) -> None:
        verdict = "DRIFT" if seen.drift else "as deployed"
        self._display.display(f"{name}: {'CANNOT TELL' if seen.unknown else verdict}")
        for reason in seen.unknown:
            self._display.display(f"  not known: {reason}")
        for entry in seen.drift:
            self._display.display(f"  differs: {line(entry)}")

    def _write(self, hosts: dict[str, Seen], status: int) -> None:
        document = {
            "exit_code": status,
            "hosts": {
                name: {"drift": seen.drift, "unknown": seen.unknown}
                for name, seen in sorted(hosts.items())
            },
        }
        text = json.dumps(document, indent=2, default=str)
        if self._json_path == "-":
            self._display.display(text)
        else:
            Path(self._json_path).write_text(f"{text}\n", encoding="utf-8")
