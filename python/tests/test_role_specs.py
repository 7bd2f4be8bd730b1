"""Roles say what they take: argument specifications, defaults and names agree."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROLES = Path(__file__).resolve().parents[2] / "roles"
ROLE_NAMES = sorted(path.parents[1].name for path in ROLES.glob("*/tasks/main.yml"))


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None


def options(role: str) -> dict[str, dict[str, Any]]:
    """Options of all entry points of a role; the same option is the same everywhere."""
    specs = load(ROLES / role / "meta" / "argument_specs.yml")["argument_specs"]
    found: dict[str, dict[str, Any]] = {}
    for spec in specs.values():
        for name, option in spec.get("options", {}).items():
            assert found.setdefault(name, option) == option, f"{name} differs between entry points"
    return found


def defaults(role: str) -> dict[str, Any]:
    return load(ROLES / role / "defaults" / "main.yml") or {}


def test_there_are_roles() -> None:
    assert {"release", "credentials", "service", "exitbrain"} <= set(ROLE_NAMES)


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_each_default_is_specified_and_each_specified_default_is_one(role: str) -> None:
    specified = {name: o["default"] for name, o in options(role).items() if "default" in o}
    assert specified == defaults(role)


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_variables_bear_the_name_of_their_role(role: str) -> None:
    internal = load(ROLES / role / "vars" / "main.yml") or {}
    assert all(name.startswith(f"{role}_") for name in options(role))
    assert all(name.startswith(f"__{role}_") for name in internal)


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_an_option_is_described_and_required_or_has_a_default(role: str) -> None:
    for name, option in options(role).items():
        assert option["description"], name
        assert option.get("required", False) != ("default" in option), name


def plugin() -> ModuleType:
    path = ROLES / "preflight" / "action_plugins" / "quantum_known_variables.py"
    spec = importlib.util.spec_from_file_location("quantum_known_variables", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def unknown(*given: str) -> list[str]:
    module = plugin()
    lines: list[str] = module.unknown_variables(given, module.known_variables(ROLES))
    return lines


def test_known_variables_and_those_of_others_pass() -> None:
    assert unknown("credentials_environment", "ansible_host", "my_note", "inventory_dir") == []


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ("credentials_enviroment", "credentials_environment"),
        ("exitbrain_watchdog", "exitbrain_watchdog_s"),
        ("credential_api_key", "credentials_api_key"),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_nearest_name(given: str, nearest: str) -> None:
    (line,) = unknown(given)
    assert given in line
    assert nearest in line


@pytest.mark.parametrize(
    ("given", "nearest"),
    [("comfirm", "confirm"), ("expct", "expect"), ("position", "positions")],
)
def test_a_misspelt_word_of_the_playbooks_is_refused(given: str, nearest: str) -> None:
    assert unknown(nearest) == []
    (line,) = unknown(given)
    assert nearest in line


def test_all_roles_are_known_to_the_check() -> None:
    assert set(plugin().known_variables(ROLES)) == set(ROLE_NAMES)
