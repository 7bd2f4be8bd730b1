"""A key that the exchange refuses: every order says so in its result, and one alert does."""

from __future__ import annotations

from quantum_exit import keys

from .harness import World, wait_for


def alerts(world: World) -> list[dict[str, str]]:
    entries = [fields for _, fields in world.redis.xrange(keys.ALERTS)]
    return [fields for fields in entries if fields["alert_type"] == "CREDENTIALS_REJECTED"]


def test_orders_refused_for_the_key_raise_one_alert(empty_world: World) -> None:
    world = empty_world
    world.start()
    world.hold("BTCUSDT", "1")
    world.exchange.add_fault(method="POST", path="/fapi/v1/order", times=2, answer="401_key")
    for _ in range(2):
        result = world.result(world.send(world.signed(qty="0.1")))
        assert result["error"].startswith("binance_error:-2015"), result
    wait_for(lambda: alerts(world), "the alert")
    assert "-2015" in alerts(world)[0]["details"]
    assert world.result(world.send(world.signed(qty="0.1")))["decision"] == "EXECUTED"
    assert len(alerts(world)) == 1


def test_a_key_refused_from_the_start_is_told_by_an_executor_that_stays_up(
    empty_world: World,
) -> None:
    world = empty_world
    world.exchange.add_fault(method="GET", path="/fapi/v1/positionSide/dual", answer="401_key")
    executor = world.start(wait=False)
    wait_for(lambda: alerts(world), "the alert", 20)
    wait_for(lambda: "-2015" in executor.beat().get("status", ""), "its own word")
    world.exchange.clear_faults()
    executor.wait_ready()
    assert len(alerts(world)) == 1
