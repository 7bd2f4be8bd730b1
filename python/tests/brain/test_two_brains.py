"""Two brains started by mistake: one decides, the other stands by and takes over."""

from __future__ import annotations

from quantum_exit import keys
from quantum_exit.binance.errors import ExchangeUnreachable
from quantum_exit.brain.service import GONE_AFTER_S, BrainService

from .harness import Brain, FakeExchange

BTC = "BTCUSDT"


def step(brain: Brain, *services: BrainService) -> None:
    brain.clock.advance(1.0)
    for service in services:
        service.beat()
        service.run_once()


def test_the_one_that_began_last_decides_and_each_exit_is_asked_for_once(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle()
    first = brain.service
    brain.restart()
    second = brain.service
    step(brain, second, first)
    brain.price(BTC, "90")
    for _ in range(3):
        step(brain, first, second)
    assert len(brain.intents) == 1
    assert brain.heartbeat["ready"] == "true"

    brain.answer(brain.intents[0], filled="1")
    brain.exchange.hold(BTC, "0", "0")
    for _ in range(3):
        step(brain, first, second)
    assert brain.alerts("UNAUTHORIZED_POSITION_CHANGE") == []


def test_the_one_that_stands_by_takes_over_from_one_that_is_gone(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle()
    first = brain.service
    brain.restart()
    second = brain.service
    step(brain, second, first)
    kept = brain.redis.hgetall(keys.heartbeat("exitbrain"))
    step(brain, first)
    assert brain.redis.hgetall(keys.heartbeat("exitbrain")) == kept  # it beats for nobody

    brain.price(BTC, "90")
    for _ in range(int(GONE_AFTER_S) + 1):
        step(brain, first)
    assert len(brain.intents) == 1
    brain.service = first
    assert brain.heartbeat["ready"] == "true"
    step(brain, second)  # it was frozen, and wakes up
    step(brain, second, first)
    assert len(brain.intents) == 1
    brain.service = first
    assert brain.heartbeat["ready"] == "true"


def test_one_that_takes_over_and_cannot_work_is_taken_over_from(brain: Brain) -> None:
    brain.exchange.hold(BTC, "1", "100")
    brain.cycle()
    first, good = brain.service, brain.exchange
    brain.exchange = FakeExchange(brain.clock)
    brain.exchange.error = ExchangeUnreachable("no route")
    brain.restart()
    second, blind = brain.service, brain.exchange
    brain.exchange = good
    step(brain, second, first)
    brain.price(BTC, "90")
    for _ in range(int(GONE_AFTER_S) + 3):
        step(brain, second, first)
    assert len(brain.intents) == 1

    blind.error = None
    blind.held, blind.marks = good.held, good.marks
    for _ in range(10):
        step(brain, second, first)
    assert len(brain.intents) == 1
    brain.answer(brain.intents[0], error="position_stale")
    for _ in range(5):
        step(brain, first, second)
    assert len(brain.intents) == 2
    assert brain.heartbeat["ready"] == "true"
