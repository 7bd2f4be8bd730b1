"""Redis killed and started again under the brain: nothing doubled, nothing forgotten."""

import time
from collections.abc import Iterator

import pytest
import redis

from quantum_exit import keys
from quantum_exit.brain.store import Commit, Store

from ..conftest import RedisServer
from .harness import Brain

BTC = "BTCUSDT"


@pytest.fixture
def brain(durable_redis: RedisServer) -> Iterator[Brain]:
    one = Brain(durable_redis.url)
    yield one
    one.redis.close()


def test_without_redis_it_is_not_ready_and_resumes_by_itself(
    brain: Brain, durable_redis: RedisServer
) -> None:
    trailing = {"stop_loss_pct": 5, "trailing_start_pct": 2, "trailing_distance_pct": 1}
    brain.policy({"default": trailing})
    brain.exchange.hold(BTC, "1", "100")
    brain.exchange.hold("ETHUSDT", "1", "100", mark="90")
    brain.cycle()
    brain.price(BTC, "110")
    brain.cycle()
    durable_redis.kill()
    brain.price(BTC, "108.9")
    began = time.monotonic()
    brain.cycle(3)
    assert time.monotonic() - began < 5
    durable_redis.start()
    brain.cycle()
    assert brain.heartbeat["ready"] == "true"
    assert [intent.symbol for intent in brain.intents] == ["ETHUSDT", BTC]
    assert brain.intents[1].reason.startswith("TRAILING_STOP")


def test_a_step_whose_answer_was_lost_is_not_taken_twice(
    brain: Brain, monkeypatch: pytest.MonkeyPatch
) -> None:
    brain.exchange.hold(BTC, "1", "100", mark="95")
    take = Store.commit

    def take_and_lose_the_answer(store: Store, commit: Commit) -> None:
        take(store, commit)
        raise redis.ConnectionError("lost")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "commit", take_and_lose_the_answer)
        brain.cycle()
    assert brain.heartbeat["ready"] == "false"
    brain.cycle(5)
    assert brain.heartbeat["ready"] == "true"
    assert len(brain.intents) == 1


def test_a_step_that_never_arrived_is_taken_again(
    brain: Brain, monkeypatch: pytest.MonkeyPatch
) -> None:
    brain.exchange.hold(BTC, "1", "100", mark="95")

    def lose(_store: Store, _commit: Commit) -> None:
        raise redis.TimeoutError("lost")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "commit", lose)
        brain.cycle(2)
    assert brain.intents == []
    brain.cycle()
    assert len(brain.intents) == 1
    assert brain.redis.hget("quantum:exitbrain:tracks", BTC)
    assert brain.redis.get(keys.BRAIN_ENV_KILL) == "false"


@pytest.mark.parametrize("part", ["tracks", "books", "stops", "meta"])
def test_state_under_a_key_of_another_type_is_begun_anew(brain: Brain, part: str) -> None:
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle(2)
    brain.redis.delete(f"quantum:exitbrain:{part}")
    brain.redis.set(f"quantum:exitbrain:{part}", "x")
    brain.price(BTC, "90")
    brain.cycle(3)
    brain.restart()
    brain.cycle(3)
    assert brain.intents
    assert {intent.symbol for intent in brain.intents} == {BTC}
    assert brain.heartbeat["ready"] == "true"


def test_state_that_holds_no_numbers_is_begun_anew(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100")
    brain.exchange.hold("ETHUSDT", "1", "100")
    brain.cycle(2)
    meta = {"last_good_epoch": "yesterday", "unprotected_total_s": ""}
    brain.redis.hset("quantum:exitbrain:meta", mapping=meta)
    track = str(brain.redis.hget("quantum:exitbrain:tracks", BTC))
    broken = track.replace('"stop":"98"', '"stop":"NaN"')
    assert broken != track
    brain.redis.hset("quantum:exitbrain:tracks", BTC, broken)
    brain.restart()
    for symbol in (BTC, "ETHUSDT"):
        brain.price(symbol, "90")
    brain.cycle(2)
    assert {intent.symbol for intent in brain.intents} == {BTC, "ETHUSDT"}
    assert brain.heartbeat["ready"] == "true"
