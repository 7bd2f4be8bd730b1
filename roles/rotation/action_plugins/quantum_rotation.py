"""Rotate secrets of a host: collect them here, hand them to the program on the host.

They go through its standard input and are in no argument, no module's parameters, no result and
no temporary file, on either side. What runs there is `quantum_exit.rotation` of the release that
is current on the host; it goes on when this side is gone.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from ansible import context
from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

PROGRAM = "/opt/quantum/current/bin/launch quantum_exit.rotation"
NAMES = ("api_key", "api_secret", "read_api_key", "read_api_secret")
VARIABLES = {
    "api_key": "API_KEY",
    "api_secret": "SECRET_KEY",
    "read_api_key": "READ_API_KEY",
    "read_api_secret": "READ_SECRET_KEY",
}
# Also the names under which a vault or an older habit may hold them.
SECRET = re.compile(
    r"(?i)\b\w*(api_key|api_secret|secret_key|signing_key|password)\w*\b[\"']?\s*[=:]"
)


def secrets_on_command_line(given: Iterable[str]) -> list[str]:
    """Names of secret variables among the values of -e; files (@name) are none."""
    found = []
    for words in given:
        if not words.lstrip().startswith("@"):
            found += [hit.group(0).rstrip("=: \"'") for hit in SECRET.finditer(words)]
    return found


def read_file(path: Path, environment: str) -> dict[str, str]:
    """The keys in a file of the control machine. Raises ValueError; no value is in its text."""
    try:
        status = path.lstat()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path} is not a plain file")
    if stat.S_IMODE(status.st_mode) & 0o077 or status.st_uid not in (0, os.getuid()):
        raise ValueError(f"{path} can be read by others: chmod 600 {path}, and make it your own")
    prefix = f"BINANCE_{environment.upper()}_"
    wanted = {f"{prefix}{variable}": name for name, variable in VARIABLES.items()}
    given = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        variable, separator, value = line.partition("=")
        if not separator or variable.strip() not in wanted:
            raise ValueError(f"{path} line {number}: expected {' or '.join(wanted)} and a value")
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        given[wanted[variable.strip()]] = value
    if not given:
        raise ValueError(f"{path} holds no keys")
    return given


class ActionModule(ActionBase):
    """Its one argument is the kind; everything else it reads from the variables by itself."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"kind"})

    def run(self, tmp=None, task_vars=None):
        """Return the report of the host as `msg`, always shown."""
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        kind = self._task.args["kind"]
        if named := secrets_on_command_line(context.CLIARGS.get("extra_vars") or ()):
            raise AnsibleActionFail(
                f"{named[0]} was given on the command line, where all users of this machine can "
                "read it, and the shell's history keeps it. Take it from a vault, from a file "
                "(-e rotation_file=PATH, mode 0600) or the prompt (-e ask=true). Nothing was done"
            )
        request = {
            "kind": kind,
            "environment": self._variable(task_vars, "rotation_environment"),
            "given": self._given(task_vars) if kind == "exchange" else {},
            "check_only": bool(self._task.check_mode),
            "signing_overlap_s": float(self._variable(task_vars, "rotation_signing_overlap_s")),
            "producers_overlap_s": float(self._variable(task_vars, "rotation_producers_overlap_s")),
            "end_overlap": boolean(self._variable(task_vars, "rotation_end_overlap")),
        }
        answer = self._low_level_execute_command(
            PROGRAM, in_data=json.dumps(request).encode(), executable="/bin/sh"
        )
        return {**result, **self._report(answer), "_ansible_verbose_always": True}

    def _variable(self, task_vars: Mapping, name: str):
        return self._templar.template(task_vars.get(name, ""))

    def _given(self, task_vars: Mapping) -> dict[str, str]:
        asked = task_vars.get("__rotation_asked") or {}
        typed = {
            answer["item"]: str(answer["user_input"])
            for answer in asked.get("results", [])
            if "user_input" in answer
        }
        given = {name: str(self._variable(task_vars, f"rotation_{name}") or "") for name in NAMES}
        file = str(self._variable(task_vars, "rotation_file") or "")
        sources = [each for each in (given, typed) if any(each.values())]
        if file:
            environment = str(self._variable(task_vars, "rotation_environment"))
            try:
                sources.append(read_file(Path(file).expanduser(), environment))
            except (ValueError, OSError) as error:
                raise AnsibleActionFail(f"rotation_file: {error}") from None
        if len(sources) > 1:
            raise AnsibleActionFail("new keys come from more than one place: vault, prompt or file")
        if typed and not sources:
            raise AnsibleActionFail("nothing was typed in; no host was touched")
        return {name: value for name, value in (sources or [{}])[0].items() if value}

    @staticmethod
    def _report(answer: Mapping) -> dict:
        for line in reversed(answer["stdout"].splitlines()):
            if line.startswith('{"ok"'):
                document = json.loads(line)
                lines = document["lines"]
                return {"changed": document["changed"], "failed": not document["ok"], "msg": lines}
        said = (answer["stderr"] or answer["stdout"]).strip().splitlines()
        why = said[-1] if said else f"it ended with {answer['rc']} and no answer"
        if answer["rc"] in (126, 127) or "No module named" in why:
            why = "the release on the host knows no rotation: deploy first (ansible/site.yml)"
        msg = [
            f"the host did not report: {why}. Run this again: it finishes or undoes what was begun"
        ]
        return {"changed": True, "failed": True, "msg": msg}
