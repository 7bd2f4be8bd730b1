"""The inventories that come with the project agree with the roles and with each other."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
REAL = ("testnet", "mainnet")
VAULTED = re.compile(r"vault_[a-z_]+")


def group(environment: str) -> Path:
    return ROOT / "inventories" / environment / "group_vars" / "quantum"


def variables(environment: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((group(environment) / "vars.yml").read_text())
    return found


def known() -> set[str]:
    found: set[str] = set()
    for path in (ROOT / "roles").glob("*/meta/argument_specs.yml"):
        for spec in yaml.safe_load(path.read_text())["argument_specs"].values():
            found.update(spec.get("options", {}))
    return found


@pytest.mark.parametrize("environment", REAL)
def test_the_vault_example_names_what_the_variables_take_from_it(environment: str) -> None:
    taken = set(VAULTED.findall((group(environment) / "vars.yml").read_text()))
    example = (group(environment) / "vault.yml.example").read_text()
    given = set(re.findall(r"^(?:# )?(vault_[a-z_]+):", example, re.MULTILINE))
    assert taken == given
    exchange = {name for name in taken if not name.startswith("vault_alerts_")}
    assert all(name.startswith(f"vault_{environment}_") for name in exchange)


@pytest.mark.parametrize("environment", REAL)
def test_it_is_for_the_environment_that_it_bears_the_name_of(environment: str) -> None:
    found = variables(environment)
    assert found["credentials_environment"] == environment
    assert set(found) <= known()
    # Nothing in it makes a host LIVE, and no exchange but that of the environment is named.
    assert not {name for name in found if name.startswith(("credentials_exit", "credentials_base"))}


def test_both_are_of_one_form() -> None:
    limits = {"credentials_max_order_value", "credentials_max_orders_per_min"}
    assert set(variables("mainnet")) - set(variables("testnet")) <= limits
    assert set(variables("testnet")) <= set(variables("mainnet"))


def test_the_sandboxs_variables_are_known() -> None:
    path = ROOT / "inventories" / "sandbox" / "group_vars" / "sandboxes.yml"
    assert set(yaml.safe_load(path.read_text())) <= known()
