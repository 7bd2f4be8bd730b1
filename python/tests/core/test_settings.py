"""A wrong configuration names its variable, never its secret, and ends with exit 78."""

from __future__ import annotations

from decimal import Decimal

import pytest

from quantum_exit.executor.settings import from_environ
from quantum_exit.settings import (
    ConfigError,
    ExchangeSettings,
    comma_list,
    exit_owner,
    flag,
    is_testnet,
    optional_number,
    positive_number,
    public_keys,
    redis_url,
    run_service,
)

GOOD = {
    "BINANCE_API_KEY": "key-CANARY",
    "BINANCE_API_SECRET": "secret-CANARY",
    "BINANCE_TESTNET": "true",
    "USE_BINANCE_TESTNET": "true",
    "REDIS_URL": "redis://user:CANARY@127.0.0.1:6379/0",
}


def complaint(**changes: str | None) -> str:
    environ = {k: v for k, v in {**GOOD, **changes}.items() if v is not None}
    with pytest.raises(ConfigError) as error:
        from_environ(environ)
    assert "CANARY" not in str(error.value)
    return str(error.value)


def test_a_good_environment_is_read() -> None:
    settings = from_environ(GOOD)
    assert settings.exchange.testnet
    assert settings.gates.owner == "exitbrain_v3_5"
    assert settings.gates.source_allowlist == {"intent_bridge", "apply_layer", "exitbrain_v3_5"}
    assert settings.gates.symbol_allowlist is None
    assert settings.recv_window_ms == 1000
    assert settings.permit_wait_s == 8
    assert settings.gates.plan_lifetime_s == 60
    assert settings.manual_stream == "quantum:stream:apply.plan.manual"
    assert settings.gates.default_limits.max_order_value is None


def test_secrets_are_not_shown() -> None:
    assert "CANARY" not in repr(from_environ(GOOD).exchange)


@pytest.mark.parametrize("name", ["BINANCE_API_KEY", "BINANCE_API_SECRET", "REDIS_URL"])
@pytest.mark.parametrize(("value", "word"), [(None, "missing"), ("", "empty"), ("  ", "empty")])
def test_a_missing_credential_is_named(name: str, value: str | None, word: str) -> None:
    assert complaint(**{name: value}).startswith(f"{name} is {word}: ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BINANCE_TESTNET", "yes"),
        ("USE_BINANCE_TESTNET", ""),
        ("BINANCE_BASE_URL", "http://fapi.example.org"),
        ("BINANCE_BASE_URL", "ftp://127.0.0.1"),
        ("REDIS_URL", "127.0.0.1:6379"),
        ("QUANTUM_PUBLIC_KEY_EXITBRAIN_V3_5", "abc"),
        ("INTENT_EXECUTOR_MAX_ORDER_VALUE", "lots"),
        ("INTENT_EXECUTOR_MAX_ORDER_VALUE", ""),
        ("INTENT_EXECUTOR_PRICE_COLLAR_PCT", "-1"),
        ("INTENT_EXECUTOR_MAX_ORDERS_PER_MIN", "NaN"),
        ("INTENT_EXECUTOR_MAX_REPEATS", "inf"),
        ("INTENT_EXECUTOR_MAX_REPEATS_BTCUSDT", "x"),
        ("INTENT_EXECUTOR_PLAN_LIFETIME_S", "0"),
        ("INTENT_EXECUTOR_PERMIT_WAIT_S", "soon"),
        ("QUANTUM_RECV_WINDOW_MS", "0"),
        ("QUANTUM_RECV_WINDOW_MS", "60000"),
        ("QUANTUM_RECV_WINDOW_MS", "0.5"),
        ("INTENT_EXECUTOR_MAX_REPEATS", "0.5"),
        ("INTENT_EXECUTOR_ORDER_THREADS", "0"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str) -> None:
    assert name in complaint(**{name: value})


def test_the_two_flags_must_agree() -> None:
    text = complaint(USE_BINANCE_TESTNET="false")
    assert "BINANCE_TESTNET and USE_BINANCE_TESTNET" in text
    assert is_testnet({"BINANCE_TESTNET": " True "})
    assert not is_testnet({"USE_BINANCE_TESTNET": "FALSE"})
    assert "BINANCE_TESTNET" in complaint(BINANCE_TESTNET=None, USE_BINANCE_TESTNET=None)


@pytest.mark.parametrize("chosen", ["mainnet", "testnet"])
def test_a_choice_that_the_file_was_not_deployed_for_is_refused(chosen: str) -> None:
    other = "mainnet" if chosen == "testnet" else "testnet"
    told = complaint(QUANTUM_ENVIRONMENT=chosen, QUANTUM_DEPLOYED_FOR=other)
    assert "QUANTUM_ENVIRONMENT" in told
    assert f"confirm={chosen}" in told
    for agreed in ({"QUANTUM_ENVIRONMENT": chosen}, {"QUANTUM_DEPLOYED_FOR": chosen}):
        from_environ({**GOOD, **agreed})
    from_environ({**GOOD, "QUANTUM_ENVIRONMENT": chosen, "QUANTUM_DEPLOYED_FOR": chosen})


def test_plain_http_only_to_loopback_or_a_sandbox_host() -> None:
    url = "http://10.77.12.2:8080"
    assert "BINANCE_BASE_URL" in complaint(BINANCE_BASE_URL=url)
    sandbox = {**GOOD, "BINANCE_BASE_URL": url, "QUANTUM_SANDBOX_HOSTS": "10.77.12.2"}
    assert ExchangeSettings.from_environ(sandbox).base_url == url
    loopback = {**GOOD, "BINANCE_BASE_URL": "http://127.0.0.1:1/"}
    assert ExchangeSettings.from_environ(loopback).base_url == "http://127.0.0.1:1"


def test_numbers() -> None:
    assert positive_number({}, "N", Decimal(5)) == 5
    assert positive_number({"N": " 1.5 "}, "N", Decimal(5)) == Decimal("1.5")
    assert optional_number({}, "N") is None
    assert optional_number({"N": "0"}, "N") == 0


def test_small_things() -> None:
    assert comma_list({"L": " a, b ,,c"}, "L") == {"a", "b", "c"}
    assert comma_list({"L": ""}, "L", "x") == frozenset()
    assert comma_list({}, "L", "x") == {"x"}
    assert exit_owner({"QUANTUM_EXIT_OWNER": " me "}) == "me"
    assert exit_owner({"QUANTUM_EXIT_OWNER": ""}) == "exitbrain_v3_5"
    assert public_keys({"QUANTUM_PUBLIC_KEY_A": " k ", "QUANTUM_PUBLIC_KEY_B": ""}) == {"A": "k"}
    assert flag({}, "F", default=True)
    assert redis_url(GOOD) == GOOD["REDIS_URL"]


def test_limits_by_symbol_take_precedence() -> None:
    environ = {
        "INTENT_EXECUTOR_MAX_REPEATS": "5",
        "INTENT_EXECUTOR_MAX_ORDER_VALUE": "1000",
        "INTENT_EXECUTOR_MAX_REPEATS_BTCUSDT": "2",
    }
    gates = from_environ({**GOOD, **environ}).gates
    assert gates.limits_of("BTCUSDT").max_repeats == 2
    assert gates.limits_of("BTCUSDT").max_order_value == 1000
    assert gates.limits_of("ETHUSDT").max_repeats == 5


def test_a_configuration_error_ends_with_78(capsys: pytest.CaptureFixture[str]) -> None:
    def main(_: object) -> int:
        raise ConfigError("THIS is missing")

    with pytest.raises(SystemExit) as end:
        run_service(main)
    assert end.value.code == 78
    assert "configuration error: THIS is missing" in capsys.readouterr().err
