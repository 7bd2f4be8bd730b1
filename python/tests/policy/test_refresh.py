"""The refresh as a process: publishes, or leaves what was published and says why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from paper_exchange.testing import PaperExchange
from quantum_exit import keys
from quantum_exit.policy.reader import ValidPolicy, parse_policy

GOOD = """
universe_symbols: [BTCUSDT, ETHUSDT]
leverage_by_symbol: {BTCUSDT: 5, ETHUSDT: 3}
"""


@pytest.fixture(scope="module")
def exchange() -> Iterator[PaperExchange]:
    with PaperExchange() as running:
        yield running


class Refresh:
    def __init__(self, redis_url: str, exchange: PaperExchange, path: Path) -> None:
        self.path = path
        self.environ = {
            "PATH": os.environ["PATH"],
            "REDIS_URL": redis_url,
            "BINANCE_TESTNET": "true",
            "BINANCE_BASE_URL": exchange.base_url,
            "QUANTUM_POLICY_FILE": str(path),
        }

    def run(self, text: str = GOOD, **changes: str) -> subprocess.CompletedProcess[str]:
        self.path.write_text(text)
        return subprocess.run(
            [sys.executable, "-m", "quantum_exit.policy.refresh"],
            env=self.environ | changes,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


@pytest.fixture
def refresh(redis_url: str, exchange: PaperExchange, tmp_path: Path) -> Refresh:
    exchange.reset()
    return Refresh(redis_url, exchange, tmp_path / "policy.yml")


def current(client: redis.Redis) -> dict[str, str]:
    return dict(client.hgetall(keys.POLICY_CURRENT))


def alerts(client: redis.Redis) -> list[str]:
    return [fields["alert_type"] for _, fields in client.xrange(keys.ALERTS)]


def audit(client: redis.Redis) -> list[str]:
    return [fields["event"] for _, fields in client.xrange(keys.POLICY_AUDIT)]


def test_a_policy_is_published_with_its_trail(refresh: Refresh, redis_client: redis.Redis) -> None:
    done = refresh.run()
    assert done.returncode == 0, done.stderr
    state = parse_policy(current(redis_client), time.time())
    assert isinstance(state, ValidPolicy)
    assert state.view.universe == {"BTCUSDT", "ETHUSDT"}
    redis_client.hset(keys.POLICY_CURRENT, "left_over", "x")
    assert refresh.run().returncode == 0
    assert "left_over" not in current(redis_client)
    updates = [fields["changed"] for _, fields in redis_client.xrange(keys.POLICY_UPDATE)]
    assert updates == ["true", "false"]
    assert audit(redis_client) == ["published", "published"]


def test_an_invalid_policy_leaves_the_old_one(refresh: Refresh, redis_client: redis.Redis) -> None:
    refresh.run()
    before = current(redis_client)
    done = refresh.run(GOOD.replace("[BTCUSDT", "[BTCUSD"))
    assert done.returncode == 2
    assert "BTCUSD is not listed" in done.stderr or "leverage_by_symbol.BTCUSDT" in done.stderr
    assert current(redis_client) == before
    assert audit(redis_client) == ["published", "rejected"]
    assert alerts(redis_client) == []


def test_a_key_of_another_type_in_its_place_is_replaced(
    refresh: Refresh, redis_client: redis.Redis
) -> None:
    redis_client.set(keys.POLICY_CURRENT, "x")
    assert refresh.run("universe_symbols: [BTCUSDT]").returncode == 2
    assert alerts(redis_client) == ["POLICY_STALE"]
    done = refresh.run()
    assert done.returncode == 0, done.stderr
    assert isinstance(parse_policy(current(redis_client), time.time()), ValidPolicy)


@pytest.mark.parametrize("valid_until", ["1700000000", None])
def test_a_stale_or_missing_policy_raises_an_alert(
    refresh: Refresh, redis_client: redis.Redis, valid_until: str | None
) -> None:
    if valid_until:
        refresh.run()
        redis_client.hset(keys.POLICY_CURRENT, "valid_until_epoch", valid_until)
    assert refresh.run("universe_symbols: 5").returncode == 2
    assert alerts(redis_client) == ["POLICY_STALE"]


def test_leverage_brackets_are_checked_where_a_key_can_read_them(
    refresh: Refresh, redis_client: redis.Redis, exchange: PaperExchange
) -> None:
    text = GOOD.replace("BTCUSDT: 5", "BTCUSDT: 125").replace("ETHUSDT: 3", "ETHUSDT: 125")
    key = {"BINANCE_API_KEY": exchange.api_key, "BINANCE_API_SECRET": exchange.secret_key}
    assert refresh.run(GOOD, **key).returncode == 0
    with_key, without = refresh.run(text, **key), refresh.run(text)
    assert without.returncode == 0
    assert "not checked" in without.stderr
    assert "not checked" not in with_key.stderr


def test_what_cannot_be_checked_is_not_published(
    refresh: Refresh, redis_client: redis.Redis, exchange: PaperExchange
) -> None:
    exchange.add_fault(path="/fapi/v1/exchangeInfo", drop="before")
    assert refresh.run().returncode == 3
    assert current(redis_client) == {}
    exchange.clear_faults()
    assert refresh.run(REDIS_URL="redis://127.0.0.1:1/0").returncode == 3
    assert refresh.run(QUANTUM_POLICY_FILE="/nonexistent/policy.yml").returncode == 3
    assert json.loads(redis_client.xrange(keys.POLICY_AUDIT)[-1][1]["problems"])


def test_misconfiguration_names_the_variable(refresh: Refresh) -> None:
    done = refresh.run(QUANTUM_POLICY_FILE="")
    assert done.returncode == 78
    assert "QUANTUM_POLICY_FILE" in done.stderr
