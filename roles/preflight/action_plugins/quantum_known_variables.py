"""Refuse variables that no role knows, with the nearest name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

import yaml
from ansible.plugins.action import ActionBase

# How alike a name must be to be taken for a misspelling of one that exists.
ALIKE = 0.9
# What the playbooks themselves take with -e. Short words: nearly the same is less alike.
WORDS = frozenset({"confirm", "expect", "positions"})
WORDS_ALIKE = 0.8
ROLES = Path(__file__).resolve().parents[2]


def known_variables(roles: Path) -> dict[str, set[str]]:
    """Options of each role's argument specification, by role."""
    known = {}
    for path in sorted(roles.glob("*/meta/argument_specs.yml")):
        specs = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
        options = (spec.get("options", {}) for spec in specs.values())
        known[path.parents[1].name] = {name for each in options for name in each}
    return known


def unknown_variables(given: Iterable[str], known: dict[str, set[str]]) -> list[str]:
    """One line for each variable that bears a role's prefix, or nearly a known name."""
    names = {name for options in known.values() for name in options}
    lines = []
    for name in sorted(given):
        if name in names | WORDS or name.startswith(("_", "ansible_")):
            continue
        ours = any(name.startswith(f"{role}_") for role in known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0 if ours else ALIKE)
        near = near or difflib.get_close_matches(name, WORDS, n=1, cutoff=WORDS_ALIKE)
        if near:
            lines.append(f"{name} is no variable of any role; the nearest is {near[0]}")
    return lines


class ActionModule(ActionBase):
    """Looks at what the inventory, the command line and the play say, not at roles' defaults."""

    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        """Fail with all unknown variables at once."""
        result = super().run(tmp, task_vars)
        given = (task_vars or {}).get("hostvars", {}).get(task_vars["inventory_hostname"], {})
        lines = unknown_variables({*given, *task_vars}, known_variables(ROLES))
        return {**result, "changed": False, "failed": bool(lines), "msg": "; ".join(lines)}
