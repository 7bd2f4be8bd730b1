"""What the credentials role derives, and how it puts secrets on disk."""

import importlib.util
import itertools
import os
import stat
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import jinja2
import pytest
import yaml

from quantum_exit.exit_mode import ExitMode

UTILS = Path(__file__).resolve().parents[2] / "roles" / "credentials" / "module_utils"
NAMES = (
    *("quantum_envfile", "quantum_signing_keys", "quantum_private_files", "quantum_derivation"),
    "quantum_sources",
)
SOURCE = {"BINANCE_TESTNET_API_KEY": "trade-key", "BINANCE_TESTNET_SECRET_KEY": "trade-secret"}
READ = {
    "BINANCE_TESTNET_READ_API_KEY": "read-key",
    "BINANCE_TESTNET_READ_SECRET_KEY": "read-secret",
}
SIGNING = {"QUANTUM_SIGNING_KEY_OWNER": "seed", "QUANTUM_PUBLIC_KEY_OWNER": "public"}


@pytest.fixture
def utils(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """The role's utilities under the names that Ansible gives them on a host."""
    modules = {}
    for name in NAMES:
        full = f"ansible.module_utils.{name}"
        spec = importlib.util.spec_from_file_location(full, UTILS / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        modules[name] = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, full, modules[name])
        spec.loader.exec_module(modules[name])
    return modules


@pytest.fixture
def derivation(utils: dict[str, ModuleType]) -> Any:
    return utils["quantum_derivation"]


@pytest.fixture
def files(utils: dict[str, ModuleType]) -> Any:
    return utils["quantum_private_files"]


def derived(derivation: Any, **service: Any) -> dict[str, str]:
    whole = {"exchange": "none", "signs": "", "verifies": [], "variables": {}, **service}
    pairs = derivation.exchange_pairs({**SOURCE, **READ}, "source", "BINANCE_TESTNET_")
    network = derivation.network_variables(True, "")
    result: dict[str, str] = derivation.derive(whole, pairs, SIGNING, "redis://u:p@h/0", network)
    return result


def test_only_the_trading_service_gets_the_trading_key(derivation: Any) -> None:
    assert derived(derivation, exchange="trade")["BINANCE_API_KEY"] == "trade-key"
    assert derived(derivation, exchange="read")["BINANCE_API_KEY"] == "read-key"
    assert "trade-key" not in derived(derivation, exchange="read").values()
    assert not any("API" in name for name in derived(derivation))


def test_without_a_read_pair_the_readers_get_the_trading_one(derivation: Any) -> None:
    pairs = derivation.exchange_pairs(SOURCE, "source", "BINANCE_TESTNET_")
    assert pairs["read"] == pairs["trade"]


def test_half_a_read_pair_is_refused(derivation: Any) -> None:
    half = {**SOURCE, "BINANCE_TESTNET_READ_API_KEY": "read-key"}
    with pytest.raises(derivation.DerivationError, match="READ_SECRET_KEY is missing"):
        derivation.exchange_pairs(half, "source", "BINANCE_TESTNET_")


def test_the_seed_goes_to_the_one_who_signs_alone(derivation: Any) -> None:
    signer = derived(derivation, signs="owner", verifies=["owner"])
    verifier = derived(derivation, verifies=["owner"])
    assert signer["QUANTUM_SIGNING_KEY"] == "seed"
    assert verifier["QUANTUM_PUBLIC_KEY_OWNER"] == "public"
    assert "seed" not in verifier.values()


def test_the_paper_exchange_gets_both_pairs_to_check(derivation: Any) -> None:
    variables = derived(derivation, exchange="serve")
    assert variables["PAPER_EXCHANGE_SECRET_KEY"] == "trade-secret"
    assert variables["PAPER_EXCHANGE_READ_API_KEY"] == "read-key"


@pytest.mark.parametrize("value", ["true", "", "TRUE", "1", "of", "nein"])
def test_an_active_kill_switch_stays_as_it_was_written(derivation: Any, value: str) -> None:
    variables = {"EXIT_EXECUTOR_KILL_SWITCH": "false"}
    derivation.keep_kill_switch(variables, {"EXIT_EXECUTOR_KILL_SWITCH": value})
    assert variables["EXIT_EXECUTOR_KILL_SWITCH"] == value


@pytest.mark.parametrize("before", [{}, {"EXIT_EXECUTOR_KILL_SWITCH": " Off "}])
def test_a_kill_switch_that_is_off_is_written_plainly(
    derivation: Any, before: dict[str, str]
) -> None:
    variables = {"EXIT_EXECUTOR_KILL_SWITCH": "false"}
    derivation.keep_kill_switch(variables, before)
    assert variables["EXIT_EXECUTOR_KILL_SWITCH"] == "false"


@pytest.mark.parametrize(
    "said",
    [
        {"BINANCE_TESTNET": "true", "USE_BINANCE_TESTNET": "false"},
        {"BINANCE_TESTNET": "false"},
        {"USE_BINANCE_TESTNET": "yes"},
    ],
)
def test_flags_that_disagree_are_refused(derivation: Any, said: dict[str, str]) -> None:
    with pytest.raises(derivation.DerivationError, match="BINANCE_TESTNET"):
        derivation.check_flags(said, "source", True)


def test_passwords_are_encoded_in_the_url(derivation: Any) -> None:
    passwords = {"REDIS_PASSWORD_PROOF": "a/b@c:d%"}
    url = derivation.redis_url(passwords, "redis.env", "proof", "127.0.0.1:6379")
    assert url == "redis://proof:a%2Fb%40c%3Ad%25@127.0.0.1:6379/0"


@pytest.mark.parametrize("bad", ["", "  ", "two\nlines"])
def test_a_refused_secret_is_named_and_not_shown(derivation: Any, bad: str) -> None:
    source = {**SOURCE, "BINANCE_TESTNET_SECRET_KEY": bad}
    with pytest.raises(derivation.DerivationError, match="BINANCE_TESTNET_SECRET_KEY") as refusal:
        derivation.exchange_pairs(source, "source", "BINANCE_TESTNET_")
    assert "lines" not in str(refusal.value)


def test_public_key_of_a_known_seed(utils: dict[str, ModuleType]) -> None:
    seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"  # RFC 8032, 7.1
    public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert utils["quantum_signing_keys"].public_key(seed) == public


@pytest.mark.parametrize("bad", ["", "zz", "00" * 31, "00" * 33])
def test_a_seed_that_is_none_is_refused(utils: dict[str, ModuleType], bad: str) -> None:
    with pytest.raises(utils["quantum_signing_keys"].SigningKeyError, match="64 hexadecimal"):
        utils["quantum_signing_keys"].public_key(bad)


root_only = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to root")


@root_only
def test_files_are_private_from_their_first_moment(
    files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []
    real_open = os.open

    def watched(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        handle = real_open(path, flags, mode, **more)
        if flags & os.O_CREAT:
            modes.append(stat.S_IMODE(os.fstat(handle).st_mode))
        return handle

    monkeypatch.setattr(os, "open", watched)
    os.umask(0)
    try:
        files.replace_all(tmp_path, {"a.env": "A=1\n", "b.env": "B=2\n"})
    finally:
        os.umask(0o022)
    assert modes == [0o600, 0o600]
    assert (tmp_path / "b.env").read_text() == "B=2\n"
    assert files.is_private(tmp_path / "a.env")


@root_only
def test_a_failed_write_leaves_every_old_file_and_no_new_one(
    files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.replace_all(tmp_path, {"a.env": "old\n", "b.env": "old\n"})
    real = files._write

    def full_disk(path: Path, text: str) -> None:
        real(path, text)
        if path.name.endswith("b.env"):
            raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(files, "_write", full_disk)
    with pytest.raises(OSError, match="No space"):
        files.replace_all(tmp_path, {"a.env": "new\n", "b.env": "new\n"})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "a.env": "old\n",
        "b.env": "old\n",
    }


@root_only
def test_an_edit_while_files_are_written_is_not_lost(
    utils: dict[str, ModuleType], files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator engages the kill switch by sed."""
    path, edited = tmp_path / "brain.env", "EXIT_EXECUTOR_KILL_SWITCH=true\n"
    path.write_text("EXIT_EXECUTOR_KILL_SWITCH=false\n")
    seen = utils["quantum_sources"].SeenFiles()
    before = seen.read(path)
    seen.replace(path, before, {"A": "1"}, "A=1\n")
    real = files._write

    def meanwhile(written: Path, text: str) -> None:
        real(written, text)
        path.write_text(edited)

    monkeypatch.setattr(files, "_write", meanwhile)
    refusal = utils["quantum_derivation"].DerivationError
    with pytest.raises(refusal, match=r"brain.env was changed meanwhile"):
        files.replace_all(tmp_path, seen.texts, seen.check_nobody_edited)
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"brain.env": edited}


def sources(utils: dict[str, ModuleType], directory: Path, **given: Any) -> tuple[Any, Any]:
    module: Any = utils["quantum_sources"]
    service = {"verifies": ["owner"], "signs": "owner", "redis_user": "owner"}
    parameters = {
        "directory": str(directory),
        "environment": "testnet",
        "paper_keys": False,
        "files": {"brain": service},
        **dict.fromkeys(("api_key", "api_secret", "read_api_key", "read_api_secret")),
        **given,
    }
    seen = module.SeenFiles()
    return seen, module.Sources(seen, parameters, check_mode=False)


@root_only
def test_sources_are_made_where_they_are_absent_and_left_alone_after_that(
    utils: dict[str, ModuleType], files: Any, tmp_path: Path
) -> None:
    seen, first = sources(utils, tmp_path, paper_keys=True)
    made, keys = first.exchange(), first.signing()
    files.replace_all(tmp_path, seen.texts, seen.check_nobody_edited)
    assert set(seen.texts) == {"testnet.env", "signing.env"}
    for secret in {*made.values(), *keys.values()}:
        assert secret not in str(seen.diff)

    seen, again = sources(utils, tmp_path, api_key="another", api_secret="secret")
    assert (again.exchange(), again.signing()) == (made, keys)
    assert seen.texts == {}
    (warning,) = again.warnings
    assert "another" not in warning


LIVE = {"EXIT_MODE": "EXIT_BRAIN_V3", "EXIT_EXECUTOR_MODE": "LIVE", "EXIT_LIVE_ROLLOUT_PCT": "100"}


@pytest.mark.parametrize(
    ("before", "arriving", "asked", "held"),
    [
        ({}, False, "", False),
        ({}, True, "", True),
        # Not by asking for it in the same breath, either.
        ({}, True, "live", True),
        ({"QUANTUM_HELD_SAFE": "true"}, False, "", True),
        ({"QUANTUM_HELD_SAFE": "true"}, False, "shadow", True),
        ({"QUANTUM_HELD_SAFE": "true"}, False, "live", False),
    ],
)
def test_after_a_move_it_is_safe_until_live_is_asked_for(
    derivation: Any, before: dict[str, str], arriving: bool, asked: str, held: bool
) -> None:
    variables = dict(LIVE)
    derivation.hold_safe(variables, before, arriving, asked)
    assert (variables["EXIT_EXECUTOR_MODE"] == "SHADOW") is held
    assert (variables["EXIT_LIVE_ROLLOUT_PCT"] == "0") is held
    assert ("QUANTUM_HELD_SAFE" in variables) is held


def test_the_file_of_an_environment_says_who_the_service_is_there_and_no_more(
    derivation: Any,
) -> None:
    variables = derived(derivation, exchange="trade", variables={"EXIT_MODE": "LEGACY"})
    assert derivation.identity_in(variables, "testnet") == {
        "QUANTUM_ENVIRONMENT": "testnet",
        "BINANCE_TESTNET": "true",
        "USE_BINANCE_TESTNET": "true",
        "BINANCE_API_KEY": "trade-key",
        "BINANCE_API_SECRET": "trade-secret",
    }


MODES: dict[str, tuple[str, ...]] = {
    "EXIT_BRAIN_V35_ENABLED": ("true", "false"),
    "EXIT_MODE": ("EXIT_BRAIN_V3", "LEGACY"),
    "EXIT_EXECUTOR_MODE": ("LIVE", "SHADOW"),
    "EXIT_BRAIN_V3_LIVE_ROLLOUT": ("ENABLED", "DISABLED"),
}


@pytest.mark.parametrize("words", list(itertools.product(*MODES.values())), ids=" ".join)
def test_the_proof_by_the_clock_expects_the_mode_that_is_deployed(words: tuple[str, ...]) -> None:
    roles = yaml.safe_load((UTILS.parent / "vars" / "main.yml").read_text())
    mode = dict(zip(MODES, words, strict=True))
    variables = roles["__credentials_files"]["exitbrain-v35"]["variables"]
    named = {variables[name].strip("{} "): word for name, word in mode.items()}
    environment = jinja2.Environment()  # noqa: S701 - no page
    environment.filters["bool"] = lambda value: value == "true"
    expect = environment.from_string(roles["__credentials_expect"]).render(named)
    assert expect == ExitMode.from_environ(mode).state.lower()
    assert "__credentials_expect" in str(roles["__credentials_files"]["proof"]["variables"])
