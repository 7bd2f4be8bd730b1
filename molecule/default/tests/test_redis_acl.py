"""What each user of Redis may do, and mostly what it is refused, asked of the real server."""

from __future__ import annotations

import pytest
import redis
from conftest import AsUser, connect

SERVICES = ("exitbrain", "apply_layer", "position_state", "intent_executor")
HELPERS = ("proof", "exit_owner_watch", "policy_refresh", "alerts_raise")
OTHERS = ("operator", "maintenance", "alerts", "metrics", "intent_bridge")
EVERYBODY = (*SERVICES, *HELPERS, *OTHERS)

STREAMS = {
    "exit.intent": {"exitbrain", "operator"},
    "exit.shadow": {"exitbrain"},
    "apply.plan": {"apply_layer", "operator", "intent_bridge"},
    "apply.plan.manual": {"operator"},
    "apply.result": {"intent_executor"},
    "policy.update": {"policy_refresh"},
    "policy.audit": {"policy_refresh"},
    "alerts": {*SERVICES, *HELPERS, "operator"},
}

DANGEROUS = (
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("CONFIG", "SET", "appendonly", "no"),
    ("DEBUG", "SLEEP", "0"),
    ("SHUTDOWN", "NOSAVE"),
    ("ACL", "LIST"),
    ("ACL", "SETUSER", "default", "on", "nopass", "+@all", "~*"),
    ("KEYS", "*"),
    ("MONITOR",),
    ("REPLICAOF", "127.0.0.1", "1"),
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("SCRIPT", "FLUSH"),
    ("FUNCTION", "FLUSH"),
    ("MODULE", "LIST"),
    ("SWAPDB", "0", "1"),
    ("SAVE",),
    ("BGREWRITEAOF",),
)

# Keys whose writers are few. Each writer has a command it may use; everybody else is tried with
# every way of writing there is.
WRITERS = {
    "quantum:kill_switch": {"operator"},
    "quantum:manual_lane:enabled": {"operator"},
    "quantum:delegation:molecule": {"operator"},
    "quantum:operator:drill:molecule": {"operator"},
    "quantum:exitbrain:env_kill": {"exitbrain"},
    "quantum:permit:p33:molecule": {"position_state"},
    "quantum:position:snapshot:MOLECULE": {"position_state"},
    "quantum:position:ledger:MOLECULE": {"intent_executor"},
    "quantum:metrics:intent_executor": {"intent_executor"},
    "quantum:policy:current": {"policy_refresh"},
    "quantum:heartbeat:exitbrain": {"exitbrain"},
    "quantum:heartbeat:apply_layer": {"apply_layer"},
    "quantum:heartbeat:position_state": {"position_state"},
    "quantum:heartbeat:intent_executor": {"intent_executor"},
    "quantum:alerts:delivered": {"alerts"},
    "quantum:heartbeat:alerts": {"alerts"},
    "elsewhere": set(),
}


def writes(key: str) -> tuple[tuple[str, ...], ...]:
    return (
        ("SET", key, "x"),
        ("HSET", key, "f", "x"),
        ("DEL", key),
        ("UNLINK", key),
        ("EXPIRE", key, "1"),
        ("RENAME", key, "quantum:molecule"),
        ("LPUSH", key, "x"),
        ("XADD", key, "*", "f", "x"),
        ("COPY", key, key + ":copy"),
        ("RESTORE", key, "0", "x"),
    )


def refuses(client: redis.Redis, *command: str) -> bool:
    """True if it is the rules that forbid the command, to this user."""
    try:
        client.execute_command(*command)
    except redis.exceptions.NoPermissionError:
        return True
    except redis.exceptions.ResponseError as error:
        # DEBUG is switched off for all; the rest was allowed, but made no sense.
        return "command not allowed" in str(error)
    return False


def would_refuse(client: redis.Redis, *command: str) -> bool:
    """The same for a command that must not be carried out: queued, where the rules are checked,
    in a transaction that is dropped."""
    with client.client() as connection:
        try:
            connection.execute_command("MULTI")
            return refuses(connection, *command)
        except redis.exceptions.NoPermissionError:
            return refuses(connection, *command)  # a user who knows no transactions
        except (TypeError, ValueError):
            return False  # QUEUED is not the answer that the client expects
        finally:
            refuses(connection, "DISCARD")


@pytest.mark.parametrize("user", ["default", "operator"])
@pytest.mark.parametrize("password", ["", "wrong"])
def test_nobody_comes_in_without_a_password(redis_port: int, user: str, password: str) -> None:
    with pytest.raises(redis.AuthenticationError):
        connect(redis_port, user, password).ping()


@pytest.mark.parametrize("user", EVERYBODY)
def test_its_own_password_lets_a_user_in(as_user: AsUser, user: str) -> None:
    assert as_user(user).ping()


@pytest.mark.parametrize("stream", STREAMS)
def test_stream_is_written_by_its_producers_alone(as_user: AsUser, stream: str) -> None:
    # An impossible id: whoever may write gets an error of another kind, and nothing is added.
    command = ("XADD", f"quantum:stream:{stream}", "NOMKSTREAM", "0-0", "f", "x")
    allowed = {user for user in EVERYBODY if not refuses(as_user(user), *command)}
    assert allowed == STREAMS[stream]


@pytest.mark.parametrize("user", EVERYBODY)
def test_nobody_may_harm_the_server(as_user: AsUser, user: str) -> None:
    client = as_user(user)
    # Maintenance is root's own: it changes passwords, and ends connections made by those before.
    own = {("ACL", "SETUSER"), ("CLIENT", "KILL")} if user == "maintenance" else set()
    tried = [command for command in DANGEROUS if command[:2] not in own]
    assert [command for command in tried if not refuses(client, *command)] == []


@pytest.mark.parametrize("key", WRITERS)
def test_key_is_written_by_its_owner_alone(as_user: AsUser, key: str) -> None:
    for user in sorted(set(EVERYBODY) - WRITERS[key]):
        client = as_user(user)
        allowed = {command[0] for command in writes(key) if not would_refuse(client, *command)}
        # The executor uses a permit up.
        if (user, key) == ("intent_executor", "quantum:permit:p33:molecule"):
            allowed -= {"DEL", "UNLINK"}
        assert allowed == set(), f"{user} may write {key}"


@pytest.mark.parametrize("key", WRITERS)
def test_key_can_be_written_by_its_owner(as_user: AsUser, key: str) -> None:
    for user in WRITERS[key]:
        assert not would_refuse(as_user(user), "DEL", key)


@pytest.mark.parametrize("user", ["intent_bridge", "maintenance", "alerts_raise"])
@pytest.mark.parametrize("key", ["quantum:stream:apply.plan", "quantum:kill_switch"])
def test_who_needs_not_read_cannot(as_user: AsUser, user: str, key: str) -> None:
    assert refuses(as_user(user), "GET", key)
    assert refuses(as_user(user), "XRANGE", key, "-", "+", "COUNT", "1")


@pytest.mark.parametrize("user", EVERYBODY)
def test_nobody_reads_what_is_not_quantum(as_user: AsUser, user: str) -> None:
    assert refuses(as_user(user), "GET", "elsewhere")


@pytest.mark.parametrize(
    ("script", "key"),
    [
        ("return redis.call('XADD', KEYS[1], '*', 'plan_id', 'x')", "quantum:stream:apply.plan"),
        ("return redis.call('SET', KEYS[1], 'off')", "quantum:kill_switch"),
    ],
)
def test_a_script_gains_no_rights(as_user: AsUser, script: str, key: str) -> None:
    with pytest.raises(
        redis.ResponseError, match=r"ACL failure in script|user executing the script"
    ):
        as_user("intent_executor").eval(script, 1, key)


def test_a_script_does_what_its_user_may(as_user: AsUser) -> None:
    executor = as_user("intent_executor")
    count = "return redis.call('HINCRBY', KEYS[1], 'molecule', 1)"
    assert executor.eval(count, 1, "quantum:executor:molecule") == 1
    assert executor.delete("quantum:executor:molecule") == 1


@pytest.mark.parametrize(
    ("user", "stream", "group"),
    [
        ("apply_layer", "exit.intent", "apply_layer"),
        ("alerts", "alerts", "alerts_delivery"),
        ("position_state", "apply.plan", "position_state_brain"),
        ("position_state", "apply.plan.manual", "position_state_brain"),
        ("intent_executor", "apply.plan", "intent_executor"),
        ("intent_executor", "apply.plan.manual", "intent_executor_manual"),
    ],
)
def test_consumer_may_work_on_its_stream(
    as_user: AsUser, user: str, stream: str, group: str
) -> None:
    client, key = as_user(user), f"quantum:stream:{stream}"
    for command in (
        ("XGROUP", "CREATE", key, group, "0", "MKSTREAM"),
        ("XREADGROUP", "GROUP", "nobody", "molecule", "STREAMS", key, ">"),
        ("XAUTOCLAIM", key, "nobody", "molecule", "0", "0"),
        ("XPENDING", key, group),
        ("XINFO", "GROUPS", key),
        ("XACK", key, group, "0-1"),
    ):
        assert not refuses(client, *command), command
    assert refuses(client, "XGROUP", "DESTROY", key, "nobody")
    assert refuses(client, "XGROUP", "SETID", key, group, "0")
    assert refuses(client, "XDEL", key, "0-1")


def test_only_the_permit_channel_is_open(as_user: AsUser) -> None:
    assert as_user("position_state").publish("quantum:permit:ready", "molecule") >= 0
    assert refuses(as_user("position_state"), "PUBLISH", "elsewhere", "molecule")
    assert refuses(as_user("intent_executor"), "PUBLISH", "quantum:permit:ready", "x")
    listener = as_user("intent_executor").pubsub()
    listener.subscribe("quantum:permit:ready")
    assert listener.get_message(timeout=5)["type"] == "subscribe"
    listener.subscribe("elsewhere")
    with pytest.raises(redis.exceptions.NoPermissionError):
        listener.get_message(timeout=5)
    listener.close()
