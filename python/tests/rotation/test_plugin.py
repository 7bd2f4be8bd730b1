"""Where the operator's side takes new keys from, and where it does not."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ansible")
ROLE = Path(__file__).resolve().parents[3] / "roles" / "rotation"


def plugin() -> Any:
    path = ROLE / "action_plugins" / "quantum_rotation.py"
    spec = importlib.util.spec_from_file_location("quantum_rotation", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "words",
    [
        "rotation_api_key=abc",
        "state=on rotation_api_secret=abc",
        '{"rotation_read_api_secret": "abc"}',
        "{rotation_api_key: abc}",
        "vault_testnet_api_secret=abc",
        "BINANCE_TESTNET_SECRET_KEY=abc",
    ],
)
def test_a_secret_on_the_command_line_is_seen(words: str) -> None:
    assert plugin().secrets_on_command_line([words])


@pytest.mark.parametrize("words", ["@vault.yml", "ask=true", "rotation_file=/root/api_keys.env"])
def test_what_is_no_secret_is_let_through(words: str) -> None:
    assert plugin().secrets_on_command_line([words]) == []


def test_a_file_of_keys_is_read_if_it_is_private(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.touch(mode=0o600)
    path.write_text("# new\nBINANCE_TESTNET_API_KEY=k=1\nBINANCE_TESTNET_SECRET_KEY='s 2'\n")
    assert plugin().read_file(path, "testnet") == {"api_key": "k=1", "api_secret": "s 2"}
    with pytest.raises(ValueError, match="line 2: expected") as other_network:
        plugin().read_file(path, "mainnet")
    assert "k=1" not in str(other_network.value)
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(ValueError, match="not a plain file"):
        plugin().read_file(link, "testnet")
    path.chmod(0o640)
    with pytest.raises(ValueError, match="can be read by others"):
        plugin().read_file(path, "testnet")
