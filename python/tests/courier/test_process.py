"""The courier from outside: a real process, a real Redis, a receiver that comes and goes."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import redis

from quantum_exit import keys
from quantum_exit.alerts.denials import drill_alert_id
from quantum_exit.alerts.model import AlertType, Severity, alert_fields

from ..conftest import RedisServer, wait_for
from ..stack import run_module
from .conftest import TOKEN, CourierProcess, pending, raise_alert, record, wait_recorded
from .receiver import Receiver


def test_arrives_whole_and_is_recorded(
    courier: CourierProcess, receiver: Receiver, redis_client: redis.Redis
) -> None:
    before = raise_alert(redis_client, symbol="BTCUSDT", n=1)
    courier.start()
    wait_for(lambda: receiver.ids() == [before], "the alert from before the first start")
    after = raise_alert(redis_client, AlertType.KILL_SWITCH_ENGAGED, symbol="ETHUSDT")
    wait_for(lambda: receiver.ids() == [before, after], "the second")
    document = receiver.got[0].document
    assert document["alert_type"] == "UNKNOWN_OUTCOME"
    assert document["host"] == "exit-1"
    assert document["details"] == {"symbol": "BTCUSDT", "n": 1}
    assert receiver.got[0].headers["Idempotency-Key"] == before
    wait_recorded(redis_client, last_alert_id=after, waiting="0", destinations="webhook")
    newest = redis_client.xrevrange(keys.ALERTS, count=1)[0][0]
    assert record(redis_client)["last_id"] == record(redis_client)["spooled_id"] == newest
    told = [json.loads(text) for text in redis_client.lrange(keys.ALERTS_RECENT, 0, -1)]
    assert [(one["alert_id"], one["outcome"]) for one in told] == [
        (after, "delivered"),
        (before, "delivered"),
    ]
    beat = redis_client.hgetall(keys.heartbeat("alerts"))
    assert beat["ready"] == "true"
    assert pending(redis_client) == 0


def drill_of(plans: str, kind: str = "EXIT_OWNER_VIOLATION", **fields: str) -> dict[str, str]:
    """As the watch sends it."""
    more = {"drill": plans, "alert_id": drill_alert_id(plans), "alert_type": kind, **fields}
    about = {"symbol": "BTCUSDT"}
    return alert_fields(AlertType.EXIT_OWNER_VIOLATION, Severity.INFO, about, 0.0, more)


def test_a_drill_is_settled_and_wakes_nobody(
    courier: CourierProcess, receiver: Receiver, redis_client: redis.Redis
) -> None:
    drill = drill_of("p")
    redis_client.set(keys.drill("p"), "alert", ex=60)
    redis_client.xadd(keys.ALERTS, dict(drill.items()))
    meant = raise_alert(redis_client, AlertType.EXIT_OWNER_VIOLATION, symbol="BTCUSDT")
    courier.start()
    wait_recorded(redis_client, last_alert_id=meant, waiting="0")
    told = [json.loads(text) for text in redis_client.lrange(keys.ALERTS_RECENT, 0, -1)]
    assert {one["alert_id"]: one["outcome"] for one in told} == {
        drill["alert_id"]: "delivered",
        meant: "delivered",
    }
    assert receiver.ids() == [meant]


@pytest.mark.parametrize(
    "said",
    [
        drill_of("p,unregistered"),
        drill_of("p,not-to-be-alerted"),
        drill_of("p", alert_id="of-another-alert-to-come"),
        drill_of("p", kind="UNAUTHORIZED_POSITION_CHANGE"),
        drill_of(","),
    ],
    ids=lambda said: f"{said['drill']} {said['alert_type']} {said['alert_id']}",
)
def test_what_only_says_that_it_is_a_drill_wakes_somebody(
    courier: CourierProcess, receiver: Receiver, redis_client: redis.Redis, said: dict[str, str]
) -> None:
    """Every service may write alerts; a drill is registered by a proof, plan by plan."""
    redis_client.set(keys.drill("p"), "alert", ex=60)
    redis_client.set(keys.drill("not-to-be-alerted"), "1", ex=60)
    redis_client.xadd(keys.ALERTS, dict(said.items()))
    courier.start()
    wait_recorded(redis_client, last_alert_id=said["alert_id"], waiting="0")
    assert receiver.ids() == [said["alert_id"]]


def test_outage_of_the_receiver_and_restart_arrive_once_each_in_order(
    courier: CourierProcess, receiver: Receiver, redis_client: redis.Redis
) -> None:
    courier.start()
    sent = [raise_alert(redis_client, n=0)]
    wait_for(lambda: receiver.ids() == sent, "the first")
    receiver.stop()
    sent += [raise_alert(redis_client, n=n) for n in range(1, 6)]
    wait_recorded(redis_client, waiting="5")
    assert pending(redis_client) == 0, "spooled alerts are acknowledged"
    assert courier.end() == 0
    sent += [raise_alert(redis_client, n=n) for n in range(6, 9)]
    courier.start()
    wait_recorded(redis_client, waiting="8")
    assert redis_client.hget(keys.heartbeat("alerts"), "ready") == "false"
    receiver.start()
    wait_for(lambda: len(receiver.ids()) >= len(sent), "all of them", 40)
    wait_recorded(redis_client, waiting="0", last_alert_id=sent[-1])
    assert receiver.ids() == sent


def test_kill_9_at_any_moment_loses_nothing(
    courier: CourierProcess, receiver: Receiver, redis_client: redis.Redis
) -> None:
    sent: list[str] = []
    for round_ in range(6):
        courier.start()
        sent += [raise_alert(redis_client, n=f"{round_}-{n}") for n in range(20)]
        at_least = len(sent) - 20 + 3 * round_
        wait_for(lambda n=at_least: len(set(receiver.ids())) >= n, "some of them", 20)
        courier.end(signal.SIGKILL)
    courier.start()
    wait_for(lambda: len(set(receiver.ids())) == len(sent), "all of them", 30)
    first_seen = list(dict.fromkeys(receiver.ids()))
    assert first_seen == sent, "in order"
    again = len(receiver.ids()) - len(sent)
    assert again <= 6, "at most the one that was on its way at each kill comes again"
    wait_recorded(redis_client, waiting="0")
    assert pending(redis_client) == 0


def test_redis_away_neither_stops_delivery_nor_loses(
    tmp_path: Path, courier: CourierProcess, receiver: Receiver
) -> None:
    directory = tmp_path / "redis"
    directory.mkdir()
    server = RedisServer(directory, durable=True)
    server.start()
    courier.environ["REDIS_URL"] = server.url
    receiver.answers = [503] * 3
    courier.start()
    try:
        first = raise_alert(server.client(), n=1)
        wait_for(lambda: receiver.refused, "a first attempt")
        wait_for(lambda: pending(server.client()) == 0, "spooled")
        server.kill()
        wait_for(lambda: receiver.ids() == [first], "delivered without Redis", 30)
        done = run_module(
            "quantum_exit.courier.raise_alert",
            ["failed", "redis-server.service"],
            {**courier.environ, "MONITOR_SERVICE_RESULT": "signal", "MONITOR_EXIT_STATUS": "KILL"},
        )
        assert done.code == 0, done
        wait_for(lambda: len(receiver.ids()) == 2, "the failure of Redis itself", 20)
        told = receiver.got[1].document
        assert told["alert_type"] == "SERVICE_FAILED"
        assert told["details"]["unit"] == "redis-server.service"
        assert told["details"]["why"] == "it was killed by a signal"
        server.start()
        third = raise_alert(server.client(), n=3)
        wait_for(lambda: receiver.ids()[2:] == [third], "from the Redis that is back", 20)
        wait_for(lambda: record(server.client()).get("waiting") == "0", "the record", 20)
    finally:
        courier.end(signal.SIGKILL)
        server.kill()


def test_a_standing_trouble_is_told_once_and_its_repeats_are_counted(
    courier: CourierProcess, receiver: Receiver, redis_client: redis.Redis
) -> None:
    courier.start({"ALERTS_WINDOW_S": "3"})

    def down(age: int) -> str:
        why = f"its heartbeat is {age} s old"
        return raise_alert(redis_client, AlertType.LAYER_DOWN, service="exitbrain", why=why)

    first = down(12)
    repeats = [down(312), down(612)]
    other = raise_alert(redis_client, AlertType.LAYER_DOWN, service="apply_layer", why="gone")
    engaged = [raise_alert(redis_client, AlertType.KILL_SWITCH_ENGAGED) for _ in range(2)]
    wait_for(lambda: len(receiver.ids()) >= 4, "those that are no repeats")
    assert receiver.ids()[:4] == [first, other, *engaged]
    wait_for(lambda: len(receiver.ids()) == 5, "the end of the window", 20)
    summary = receiver.got[4].document
    assert summary["alert_id"] == f"{repeats[-1]}-repeats"
    assert summary["details"]["repeated"] == 2
    wait_recorded(redis_client, waiting="0", repeats="2")


def test_the_same_alert_twice_is_one(
    courier: CourierProcess, receiver: Receiver, redis_client: redis.Redis
) -> None:
    courier.start()
    fields = {"alert_type": "UNKNOWN_OUTCOME", "severity": "CRITICAL", "alert_id": "one"}
    for _ in range(2):
        redis_client.xadd(keys.ALERTS, dict(fields.items()))
    last = raise_alert(redis_client)
    wait_for(lambda: receiver.ids() == ["one", last], "one of each")


def test_noise_on_the_stream_is_told_and_stops_nothing(
    courier: CourierProcess, receiver: Receiver, redis_client: redis.Redis
) -> None:
    courier.start()
    redis_client.xadd(keys.ALERTS, {"details": "[1", "timestamp": "nan", b"\xff": b"\xfe\n"})
    last = raise_alert(redis_client)
    wait_for(lambda: len(receiver.got) == 2, "both")
    noise = receiver.got[0].document
    assert (noise["alert_type"], noise["severity"]) == ("UNNAMED", "CRITICAL")
    assert noise["details"] == {"text": "[1"}
    assert receiver.got[1].document["alert_id"] == last


@pytest.mark.parametrize(
    "value",
    ['"\\ud800"', "NaN", "1e999", "[" * 400 + "]" * 400, '{"a":' * 900 + "1" + "}" * 900],
    ids=["half a character", "no number", "too large", "deep", "deeper"],
)
def test_details_that_no_receiver_could_read_are_told_as_they_are(
    courier: CourierProcess, receiver: Receiver, redis_client: redis.Redis, value: str
) -> None:
    details = f'{{"n": {value}}}'
    redis_client.xadd(keys.ALERTS, {"alert_type": "ODD", "alert_id": "o-1", "details": details})
    meant = raise_alert(redis_client)
    courier.start()
    wait_recorded(redis_client, last_alert_id=meant, waiting="0")
    assert receiver.ids() == ["o-1", meant]
    assert receiver.got[0].document["details"] == {"text": details}


def test_each_destination_goes_at_its_own_pace(
    courier: CourierProcess, receiver: Receiver, redis_client: redis.Redis
) -> None:
    """One that is down delays no other, and gets its own later."""
    down = Receiver()
    down.start()
    down.stop()
    courier.start({"ALERTS_DISCORD_URL": f"{down.url}/api/webhooks/1/{TOKEN}"})
    sent = [raise_alert(redis_client, n=n) for n in range(3)]
    wait_for(lambda: receiver.ids() == sent, "the webhook's")
    wait_recorded(redis_client, waiting="3", **{"webhook:waiting": "0", "discord:waiting": "3"})
    assert record(redis_client)["last_alert_id"] == "", "not everybody has it"
    down.start()
    try:
        wait_for(lambda: len(down.got) == 3, "the other's", 30)
    finally:
        down.stop()
    assert [f"id: {i}" in r.document["content"] for i, r in zip(sent, down.got, strict=True)] == [
        True
    ] * 3


def test_a_message_that_is_refused_holds_up_nothing(
    courier: CourierProcess, receiver: Receiver, redis_client: redis.Redis
) -> None:
    receiver.refuse_if = "poison"
    courier.start()
    sent = [raise_alert(redis_client, text=text) for text in ("fine", "poison", "fine too")]
    wait_for(lambda: receiver.ids() == sent, "all of them, one in other words", 30)
    assert "poison" not in json.dumps(receiver.got[1].document)


def test_retry_after_is_obeyed(
    courier: CourierProcess, receiver: Receiver, redis_client: redis.Redis
) -> None:
    receiver.answers, receiver.retry_after = [429], "600"
    courier.start()
    raise_alert(redis_client)
    wait_for(lambda: receiver.refused, "the first attempt")
    wait_for(lambda: "429" in record(redis_client).get("webhook:trouble", ""), "the record")
    # The pause is not slept through: being told to stop ends it.
    assert courier.end() == 0
    assert receiver.got == []


def test_the_dead_mans_switch_is_pinged_when_a_canary_is_everywhere(
    courier: CourierProcess, receiver: Receiver, redis_client: redis.Redis
) -> None:
    slow = Receiver()
    slow.start()
    slow.stop()
    courier.start(
        {
            "ALERTS_DEADMAN_URL": f"{receiver.url}/ping",
            "ALERTS_SLACK_URL": f"{slow.url}/services/T/B/{TOKEN}",
        }
    )
    raise_alert(redis_client)
    done = run_module("quantum_exit.courier.raise_alert", ["canary"], courier.environ)
    assert done.code == 0, done
    wait_for(lambda: len(receiver.got) == 2, "both at the webhook")
    assert receiver.got[1].document["alert_type"] == "CANARY"
    wait_recorded(redis_client, **{"slack:waiting": "2"})
    assert [r.path for r in receiver.got] == [f"/hook/{TOKEN}"] * 2, "not pinged yet"
    slow.start()
    try:
        wait_for(lambda: receiver.got[-1].path == "/ping", "the ping", 30)
    finally:
        slow.stop()
    wait_for(lambda: float(record(redis_client)["canary_epoch"]) > 0, "the record")
    assert sum(r.path == "/ping" for r in receiver.got) == 1


def test_no_secret_in_log_record_or_message(
    courier: CourierProcess, receiver: Receiver, redis_client: redis.Redis
) -> None:
    key = "A" * 64
    courier.start()
    raise_alert(redis_client, text=f"{TOKEN} and {key}", api_key="abc", url=f"{receiver.url}/hook")
    wait_for(lambda: receiver.got, "the alert")
    receiver.stop()
    raise_alert(redis_client, n=2)
    wait_for(lambda: record(redis_client).get("webhook:trouble"), "the trouble")
    courier.end()
    everything = courier.said + json.dumps([r.document for r in receiver.got])
    everything += json.dumps(
        [record(redis_client), redis_client.hgetall("quantum:heartbeat:alerts")]
    )
    for secret in (TOKEN, key, "abc"):
        assert secret not in everything


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"ALERTS_WEBHOOK_URL": "http://example.com/hook"}, "ALERTS_WEBHOOK_URL"),
        ({"ALERTS_SLACK_URL": "hooks.slack.com/x"}, "ALERTS_SLACK_URL"),
        ({"ALERTS_TELEGRAM_TOKEN": "1:x"}, "ALERTS_TELEGRAM_CHAT"),
        ({"ALERTS_MAIL_HOST": "localhost"}, "ALERTS_MAIL_HOST"),
        ({"ALERTS_WEBHOOK_URL": "", "ALERTS_DEADMAN_URL": "https://x/y"}, "ALERTS_DEADMAN_URL"),
    ],
)
def test_wrong_settings_are_named_and_end_it(
    courier: CourierProcess, environ: dict[str, str], named: str
) -> None:
    done = run_module("quantum_exit.courier", [], {**courier.environ, **environ})
    assert done.code == 78
    assert named in done.err
    value = environ.get(named, "")
    assert not value or value not in done.err


def test_without_a_destination_alerts_end_in_the_journal(
    courier: CourierProcess, redis_client: redis.Redis
) -> None:
    courier.start({"ALERTS_WEBHOOK_URL": ""})
    sent = raise_alert(redis_client, Severity=Severity.CRITICAL)
    wait_recorded(redis_client, last_alert_id=sent, destinations="", waiting="0")
    assert sent in courier.said
