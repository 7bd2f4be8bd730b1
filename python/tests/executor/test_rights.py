"""The executor with the rights of its own Redis user: enough for everything it does."""

from __future__ import annotations

import json
import re

from quantum_exit import keys

from ..conftest import RedisServer
from ..exitctl.test_acl import PASSWORD, rules_of
from .harness import BRIDGE, World, wait_for

USER = "intent_executor"


def test_everything_it_does_is_within_its_rights(
    durable_world: World, durable_redis: RedisServer
) -> None:
    world = durable_world
    world.redis.execute_command("ACL", "SETUSER", USER, "on", f">{PASSWORD}", *rules_of(USER))
    own = {
        "REDIS_URL": re.sub("//", f"//{USER}:{PASSWORD}@", durable_redis.url),
        "INTENT_EXECUTOR_MAX_REPEATS_SOLUSDT": "1",
    }
    world.hold("BTCUSDT", "1")
    world.publish_policy("ETHUSDT", "SOLUSDT", leverage=3)
    world.redis.set(keys.delegation("helper"), json.dumps({"symbol": "BTCUSDT"}), ex=60)
    world.redis.set(keys.MANUAL_LANE_ENABLED, "1", ex=60)
    executor = world.start(QUANTUM_FAILPOINT="after_send", **own)
    plans = [world.signed(qty="0.1")]
    world.send(plans[0])
    executor.wait_dead()
    executor = world.start(**own)
    plans += [
        world.by_intent(world.intent(quantity="0.1")),
        world.plan(qty="0.1", source="helper"),
        world.opening(symbol="ETHUSDT", qty="0.1"),
        world.opening(symbol="SOLUSDT", qty="10"),
        world.opening(symbol="SOLUSDT", qty="10"),
        world.plan(source=BRIDGE),
        world.plan(qty="many"),
        world.by_intent(
            world.intent(action="PLACE_STOP", trigger_price="50000"),
            type="STOP_MARKET",
            trigger_price="50000",
        ),
    ]
    for plan in plans[1:]:
        world.send(plan)
    waiting = world.signed(qty="0.1")
    world.send(waiting, permit=False)
    manual = world.signed(qty="0.1")
    world.send(manual, manual=True)
    world.send(plans[0])
    world.assert_settled([p["plan_id"] for p in (*plans, waiting, manual)])
    wait_for(lambda: world.metric("duplicates") == 1, "the duplicate counted")
    errors = [fields["error"] for fields in world.results()]
    assert "limit_exceeded:max_repeats" in errors
    assert executor.is_ready()
    assert executor.stop() == 0
    refused = world.redis.execute_command("ACL", "LOG")
    assert refused == []
    assert world.redis.exists(keys.executor_stopped_source(BRIDGE))
