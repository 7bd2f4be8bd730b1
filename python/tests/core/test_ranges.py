"""Every numeric setting of the services has a range, and says it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal

import pytest

from quantum_exit.apply import config as apply_config
from quantum_exit.brain import settings as brain_settings
from quantum_exit.executor import settings as executor_settings
from quantum_exit.permits import config as permits_config
from quantum_exit.settings import ConfigError

Read = Callable[[Mapping[str, str]], object]
BRAIN, PERMITS, APPLY, EXECUTOR = (
    brain_settings.from_environ,
    permits_config.from_environ,
    apply_config.from_environ,
    executor_settings.from_environ,
)
GOOD = {
    "BINANCE_API_KEY": "key",
    "BINANCE_API_SECRET": "secret",
    "BINANCE_TESTNET": "true",
    "REDIS_URL": "redis://127.0.0.1:6379/0",
}
RANGES: list[tuple[Read, str, str, str]] = [
    (BRAIN, "EXIT_BRAIN_CYCLE_S", "0.5", "60"),
    (BRAIN, "QUANTUM_RECV_WINDOW_MS", "1", "59999"),
    (BRAIN, "EXIT_BRAIN_HTTP_TIMEOUT_S", "0.1", "10"),
    (PERMITS, "P33_HTTP_TIMEOUT_S", "0.1", "10"),
    (APPLY, "APPLY_LAYER_INTENT_LIFETIME_S", "0.1", "3600"),
    (EXECUTOR, "INTENT_EXECUTOR_PLAN_LIFETIME_S", "0.1", "3600"),
    (EXECUTOR, "INTENT_EXECUTOR_INTENT_LIFETIME_S", "0.1", "3600"),
    (EXECUTOR, "INTENT_EXECUTOR_PERMIT_WAIT_S", "0.1", "60"),
    (EXECUTOR, "INTENT_EXECUTOR_HTTP_TIMEOUT_S", "0.1", "30"),
    (EXECUTOR, "INTENT_EXECUTOR_RECLAIM_S", "0.1", "3600"),
    (EXECUTOR, "INTENT_EXECUTOR_ORDER_THREADS", "1", "64"),
    (EXECUTOR, "QUANTUM_RECV_WINDOW_MS", "1", "59999"),
]
NO_NUMBERS = {
    *("BINANCE_API_KEY", "BINANCE_API_SECRET", "BINANCE_TESTNET", "USE_BINANCE_TESTNET"),
    *("BINANCE_BASE_URL", "QUANTUM_SANDBOX_HOSTS", "QUANTUM_ENVIRONMENT", "QUANTUM_DEPLOYED_FOR"),
    *("REDIS_URL", "QUANTUM_EXIT_OWNER", "QUANTUM_SIGNING_KEY", "QUANTUM_KILL_FILE"),
    *("QUANTUM_LOG_FILE", "INTENT_EXECUTOR_MANUAL_STREAM", "EXIT_BRAIN_EXCHANGE_STOP"),
    *("EXIT_BRAIN_V35_ENABLED", "EXIT_MODE", "EXIT_EXECUTOR_MODE", "EXIT_BRAIN_V3_LIVE_ROLLOUT"),
    *("EXIT_EXECUTOR_KILL_SWITCH", "EXIT_LIVE_ROLLOUT_PCT"),  # what is wrong there means SHADOW
    *("INTENT_EXECUTOR_SOURCE_ALLOWLIST", "INTENT_EXECUTOR_ALLOWLIST", "QUANTUM_LOCK_FILE"),
    # Limits of orders: any number above zero is one.
    *("INTENT_EXECUTOR_MAX_ORDER_VALUE", "INTENT_EXECUTOR_PRICE_COLLAR_PCT"),
    *("INTENT_EXECUTOR_MAX_ORDERS_PER_MIN", "INTENT_EXECUTOR_MAX_REPEATS"),
}


class Asked(Mapping[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        return GOOD[name]

    def __iter__(self) -> Iterator[str]:
        return iter(GOOD)

    def __len__(self) -> int:
        return len(GOOD)


@pytest.mark.parametrize("read", [BRAIN, PERMITS, APPLY, EXECUTOR])
def test_no_number_is_without_a_range(read: Read) -> None:
    asked = Asked()
    read(asked)
    assert asked.names - NO_NUMBERS == {name for other, name, *_ in RANGES if other is read}


@pytest.mark.parametrize(("read", "name", "least", "most"), RANGES)
def test_what_lies_outside_is_refused_by_name_value_and_range(
    read: Read, name: str, least: str, most: str
) -> None:
    for bound in (least, most):
        read({**GOOD, name: f" {bound} "})
    below, above = Decimal(least) * Decimal("0.99"), Decimal(most) + 1
    for wrong in (str(below), str(above), "0", "-1", "", "soon", "NaN", "inf", "1e999999"):
        with pytest.raises(ConfigError) as error:
            read({**GOOD, name: wrong})
        text = str(error.value)
        assert text.startswith(f"{name} must be a ")
        assert f"number from {least} to {most}, not {wrong!r}" in text


def test_milliseconds_are_whole() -> None:
    with pytest.raises(ConfigError, match="whole number from 1 to 59999"):
        BRAIN({**GOOD, "QUANTUM_RECV_WINDOW_MS": "1.5"})


def test_only_a_sandbox_may_look_more_often() -> None:
    often = {**GOOD, "EXIT_BRAIN_CYCLE_S": "0.05"}
    assert brain_settings.from_environ({**often, "BINANCE_BASE_URL": "http://127.0.0.1:9"}).cycle_s
    with pytest.raises(ConfigError, match="a cycle weighs 15"):
        BRAIN(often)
